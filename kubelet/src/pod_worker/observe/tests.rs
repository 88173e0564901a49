//! How soon the runtime is asked again for what it has not told of.

use super::*;

#[test]
fn an_end_that_nobody_reports_is_looked_for_ever_less_often_but_always() {
    let running =
        |pid| ContainerView { id: "c".to_owned(), state: State::Running, pid, ..Default::default() };
    let long_ago = Instant::now().checked_sub(SOON_FOR).expect("the machine is up for longer");
    for (pid, ended, again) in [
        (None, None, Some(POLL)),
        // It cannot be waited for.
        (Some(i32::MAX), None, Some(SOON)),
        (Some(i32::MAX), Some(long_ago), Some(POLL)),
        (None, Some(long_ago), Some(POLL)),
    ] {
        let mut observer = Observer {
            places: Places { root: "/r".into(), logs: "/l".into() },
            clock: Clock::default(),
            exits: Exits::default(),
            ended: ended.map(|since| ("c".to_owned(), since)).into_iter().collect(),
            sandboxes: BTreeMap::new(),
            containers: [("c".to_owned(), running(pid))].into(),
            tells_pids: true,
        };
        observer.watch_processes();
        assert_eq!(observer.look_again(), again, "{pid:?} {ended:?}");
        observer.containers.clear();
        observer.watch_processes();
        assert_eq!(observer.look_again(), None);
    }
}
