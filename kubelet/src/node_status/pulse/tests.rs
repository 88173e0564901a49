use super::*;
use api::Message;

#[test]
fn a_silent_runtime_makes_the_kubelet_ill_until_it_answers() {
    let clock = Clock::default();
    let pulse = Pulse::new(clock.clone());
    clock.advance(Duration::from_secs(119));
    assert_eq!(pulse.check(), Ok(()));
    clock.advance(Duration::from_secs(11));
    assert_eq!(
        pulse.check(),
        Err(Message::from("the container runtime has not answered for 130 s".to_owned()))
    );
    pulse.beat();
    assert_eq!(pulse.check(), Ok(()));
}
