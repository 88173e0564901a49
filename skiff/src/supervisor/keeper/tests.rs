#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn pauses_grow_and_a_good_run_forgives() {
    let ms = Duration::from_millis;
    let cases = [
        (ms(10), Duration::ZERO, ms(100)),
        (ms(10), ms(100), ms(200)),
        (ms(10), ms(8_000), ms(10_000)),
        (ms(30_000), ms(10_000), ms(100)),
    ];
    for (run, last, expected) in cases {
        assert_eq!(pause_after(run, last), expected, "{run:?} after {last:?}");
    }
}

#[test]
fn a_program_sees_the_host_name_of_its_node() {
    if !machinery::testing::may_run_as_root() {
        return;
    }
    let name = || {
        let mut command = Command::new("cat");
        command.arg("/proc/sys/kernel/hostname");
        command
    };
    let said = |command: &mut Command| {
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let before = said(&mut name());
    let mut named = name();
    under_name(&mut named, "two-node-1".to_owned());
    assert_eq!(said(&mut named), "two-node-1");
    assert_eq!(said(&mut name()), before, "the machine keeps its own");
}

#[tokio::test]
#[allow(clippy::zombie_processes, reason = "the function under test collects it")]
async fn the_end_of_a_process_is_noticed() {
    let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let process = processes::identity(pid).unwrap_or(Identity { pid, start: 0 });
    assert_eq!(ended(process).await.unwrap(), "exit code 3");
}
