use super::*;

fn status(health: &Health, path: &str) -> u16 {
    health.answer(path).status().as_u16()
}

#[test]
fn health_follows_the_rules_and_the_node() {
    let health = Health::new(Duration::from_secs(60));
    assert_eq!(status(&health, "/healthz"), 503, "nothing was written yet");
    health.synced();
    assert_eq!((status(&health, "/healthz"), status(&health, "/livez")), (200, 200));
    health.set_node_eligible(false);
    assert_eq!((status(&health, "/healthz"), status(&health, "/livez")), (503, 200));
    assert_eq!(status(&health, "/"), 404);

    let impatient = Health::new(Duration::ZERO);
    impatient.synced();
    assert_eq!(status(&impatient, "/livez"), 200);
    impatient.queued();
    assert_eq!(status(&impatient, "/livez"), 503);
    impatient.synced();
    assert_eq!(status(&impatient, "/livez"), 200);
}
