use super::*;
use api::Message;

#[test]
fn a_silent_runtime_makes_the_kubelet_ill_until_it_answers() {
    let pulse = Pulse::new();
    let after = |seconds| pulse.check_at(Instant::now() + Duration::from_secs(seconds));
    assert_eq!(after(119), Ok(()));
    *pulse.0.lock() = Instant::now();
    assert_eq!(after(130), Err(Message::from("the container runtime has not answered for 130 s".to_owned())));
    pulse.beat();
    assert_eq!(pulse.check(), Ok(()));
}
