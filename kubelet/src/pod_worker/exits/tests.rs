use super::*;

#[tokio::test]
async fn hears_of_the_end_of_a_process() {
    let mut child = std::process::Command::new("sleep").arg("0.05").spawn().expect("sleep can be started");
    let mut exits = Exits::default();
    let pid = i32::try_from(child.id()).expect("process ids are small");
    assert!(exits.watch("c", pid));
    assert_eq!(exits.next().await, "c");
    child.wait().expect("it has ended");
    assert!(!exits.watch("d", i32::MAX));
}
