use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::StreamExt as _;
use http_body_util::StreamBody;

use super::*;

#[tokio::test]
async fn only_so_much_is_taken() {
    const CHUNK: usize = 64 * 1024;
    for (chunks, taken) in [(0, 0), (60, 60), (400, MOST / CHUNK)] {
        let count = AtomicUsize::new(0);
        let stream = futures::stream::iter(0..chunks).map(|_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; CHUNK])))
        });
        discard(StreamBody::new(stream)).await;
        assert_eq!(count.into_inner(), taken, "{chunks}");
    }
}
