use super::*;
use crate::cri::scripted::Scripted;

fn image(id: &str, pinned: bool) -> Image {
    let repo_tags = vec![format!("registry/{id}:1")];
    Image { id: id.to_owned(), repo_tags, size: 10, pinned, ..Image::default() }
}

#[test]
fn removing_begins_at_the_high_mark_and_ends_at_the_low_one() {
    let marks = Thresholds { high: 85, low: 80 };
    let excess = |free| Fullness { size: 1000, free }.excess(marks);
    assert_eq!(excess(160), 0);
    assert_eq!(excess(150), 50);
    assert_eq!(excess(0), 200);
    assert_eq!(Fullness { size: 1000, free: 0 }.excess(Thresholds { high: 100, low: 80 }), 0, "switched off");
    assert_eq!(Fullness { size: 0, free: 0 }.excess(marks), 0, "no disk");
}

#[test]
fn the_longest_unused_image_goes_first_and_used_ones_stay() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let images = ["never", "once", "used", "pause"].map(|id| image(id, false)).to_vec();
    let mut all = images.clone();
    all.extend([image("pinned", true), image("young", false)]);
    let container = |image_ref: &str| Container { image_ref: image_ref.to_owned(), ..Container::default() };
    let mut records = HashMap::new();
    notice(&mut records, &images, &[container("once"), container("registry/used:1")], at(0));
    notice(&mut records, &all, &[container("registry/used:1")], at(250));
    let ids: Vec<String> =
        removable(&records, &all, Some("registry/pause:1"), at(250)).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["never", "once"]);
    notice(&mut records, &images[..1], &[], at(300));
    assert_eq!(records.len(), 1, "what is gone is forgotten");
}

#[tokio::test]
async fn images_are_removed_until_there_is_room() {
    let runtime = Scripted::new();
    runtime.state().images = vec![image("old", false), image("other", false)];
    runtime.state().images_at = "/".to_owned();
    let client = kube::Client::new(
        tower::service_fn(|_request: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody asks"))
        }),
        "default",
    );
    let objects = Arc::new(crate::referenced_objects::Objects::new(client));
    let images = Arc::new(Images::new(runtime.client(), objects));
    // Whatever disk this is, it is fuller than that, and emptying it is asked too much.
    let mut collector = Collector::new(runtime.client(), images, Thresholds { high: 0, low: 0 });
    let start = Instant::now();
    let (_, freed) = collector.collect(start).await.unwrap().expect("not enough was freed");
    assert_eq!(freed, 0, "both are young");
    let (_, freed) = collector.collect(start + YOUNG).await.unwrap().expect("not enough was freed");
    assert_eq!((freed, runtime.state().images.len()), (20, 0));
}
