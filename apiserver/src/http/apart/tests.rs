use std::sync::mpsc;

use super::*;

#[tokio::test]
async fn what_is_large_holds_up_nobody() {
    let (sender, receiver) = mpsc::channel();
    let large = carry_out(LARGE, async move { Ok(receiver.recv().expect("it is sent")) });
    // There is one worker: were the large one on it, this would never be sent.
    let other = carry_out(0, async move { Ok(sender.send(7).is_ok()) });
    assert_eq!(tokio::join!(large, other), (Ok(7), Ok(true)));
}

#[tokio::test]
async fn a_panic_apart_is_one_here() {
    let work = tokio::spawn(carry_out::<(), _>(LARGE, async { panic!("on purpose") }));
    assert!(work.await.is_err_and(|e| e.is_panic()));
    assert_eq!(LANES.available_permits(), 2 * available_parallelism().map_or(1, usize::from));
}
