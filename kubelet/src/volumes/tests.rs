use super::*;

#[test]
fn all_pods_have_the_same_rounds() {
    let began = Instant::now();
    let rounds = Rounds::begin(began);
    let at = |millis| {
        let now = began + Duration::from_millis(millis);
        (rounds.number(now), rounds.until_next(now).as_millis())
    };
    assert_eq!(at(0), (0, 60_000));
    assert_eq!(at(59_999), (0, 1));
    assert_eq!(at(60_000), (1, 60_000));
    assert_eq!(at(150_500), (2, 29_500));
}

#[test]
fn errors_read_as_upstreams() {
    let volume = "data".to_owned();
    let message = "error processing PVC default/c: PVC is not bound".to_owned();
    assert_eq!(
        VolumeError::Process { volume: volume.clone(), message }.to_string(),
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], \
         failed to process volumes=[data]: error processing PVC default/c: PVC is not bound"
    );
    let volumes = vec!["data".to_owned(), "more".to_owned()];
    assert_eq!(
        VolumeError::Late { volumes }.to_string(),
        "Unable to attach or mount volumes: unmounted volumes=[data more], unattached volumes=[], \
         failed to process volumes=[]: context deadline exceeded"
    );
    let message = "hostPath type check failed: /x is not a directory".to_owned();
    assert_eq!(
        VolumeError::Mount { step: "SetUp failed", volume, message, names: Vec::new() }.to_string(),
        "MountVolume.SetUp failed for volume \"data\" : hostPath type check failed: /x is not a directory"
    );
}
