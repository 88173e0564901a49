use super::*;

/// In a network namespace of the thread's own, which goes with it.
#[test]
fn a_flush_is_noticed_once() {
    if !machinery::testing::may_run_as_root() {
        return;
    }
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let write = || {
                let table = |table: Table| format!("*{}\n:{CANARY} - [0:0]\nCOMMIT\n", table.name());
                iptables::restore(&Table::ALL.map(table).concat()).unwrap();
            };
            write();
            let mut canary = Canary::new();
            assert!(!canary.is_gone().await);
            assert!(!canary.is_gone().await, "nothing happened");
            iptables::command(&["-t", "nat", "-X", CANARY]).unwrap();
            assert!(canary.is_gone().await);
            write();
            assert!(!canary.is_gone().await);
        });
    });
    thread.join().unwrap();
}
