use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::json;

use super::*;
use crate::response::Broken;

#[test]
fn json_is_indented_and_nothing_else() {
    let value = json!({
        "a": [1, 2.5, [], {}, [[null]], {"b": true}], "c{": "x, y: \"{[\\\"]}\\\\", "d": {}, "e": "", "f": {"g": "\u{1f600}"},
    });
    let expected = serde_json::to_string_pretty(&value).unwrap();
    for text in [value.to_string(), expected.clone(), "{ \"a\" : [ ] }".into()] {
        let again: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wanted = serde_json::to_string_pretty(&again).unwrap();
        for piece in [1, 2, 3, 7, text.len()] {
            let mut indenter = Indenter::default();
            let pieces = text.as_bytes().chunks(piece).flat_map(|piece| indenter.indent(piece));
            assert_eq!(String::from_utf8(pieces.collect()).unwrap(), wanted);
        }
    }
}

#[tokio::test]
async fn a_large_answer_is_indented_as_it_is_sent() {
    let item = json!({"metadata": {"name": "a".repeat(1000)}});
    for (items, is_at_once) in [(1, true), (200, false)] {
        let list = json!({"kind": "List", "items": vec![item.clone(); items]});
        let whole = list.to_string();
        // Comes in pieces, and tells how long they are together.
        let pieces: Vec<Bytes> = whole.as_bytes().chunks(10_000).map(Bytes::copy_from_slice).collect();
        let body = Pieces { left: whole.len() as u64, pieces: pieces.into_iter() }.boxed_unsync();
        let response = Response::builder().header("content-type", "application/json").body(body).unwrap();
        let mut body = prettified(response).await.into_body();
        assert_eq!(body.size_hint().exact().is_some(), is_at_once);
        let (mut text, mut longest) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            longest = longest.max(piece.len());
            text.extend_from_slice(&piece);
        }
        assert_eq!(String::from_utf8(text).unwrap(), serde_json::to_string_pretty(&list).unwrap());
        assert!(longest < 30_000, "{longest}");
    }
}

struct Pieces {
    left: u64,
    pieces: std::vec::IntoIter<Bytes>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = self.pieces.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

#[test]
fn people_get_it_unasked() {
    for (agent, path, wanted) in [
        ("curl/8.5.0", "/api/v1/pods", true),
        ("Wget/1.21", "/apis", true),
        ("Mozilla/5.0 (X11)", "/apis/apps/v1", true),
        ("curl/8.5.0", "/api/v1/pods?pretty=false", false),
        ("curl/8.5.0", "/api/v1/pods?pretty=", true),
        ("curl/8.5.0", "/openapi/v3", false),
        ("kubectl/v1.36.0", "/api/v1/pods", false),
        ("kubectl/v1.36.0", "/api/v1/pods?limit=1&pretty=true", true),
        ("", "/api/v1/pods?labelSelector=pretty", false),
    ] {
        let request = Request::get(path).header("user-agent", agent).body(()).unwrap();
        assert_eq!(is_wanted(&request), wanted, "{agent} {path}");
    }
}
