//! A network namespace of the test's own, with addresses that pods could have.

use nix::sched::{CloneFlags, unshare};

/// The address of this machine inside.
pub const ADDRESS: &str = "192.0.2.10";

/// Runs a test in a namespace of its own, or says why not.
pub fn run<F>(test: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    let inside = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return machinery::testing::skip(&format!("cannot make a network namespace: {error}"));
        }
        for arguments in ["link set lo up", &format!("address add {ADDRESS}/32 dev lo")] {
            let done = std::process::Command::new("ip").args(arguments.split(' ')).status();
            if !done.is_ok_and(|status| status.success()) {
                return machinery::testing::skip(&format!("ip {arguments} failed"));
            }
        }
        // One thread: others would be in the namespace they are started from, but this is plain to see.
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    if let Err(panic) = inside.join() {
        std::panic::resume_unwind(panic);
    }
}
