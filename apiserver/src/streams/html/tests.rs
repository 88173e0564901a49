use std::io::Read as _;

use flate2::read;

use super::*;

fn parts(headers: &[(&str, &str)], status: u16) -> Parts {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

#[test]
fn only_pages_that_can_be_read_are_changed() {
    for (media, encoding, status, expected) in [
        ("text/html", "", 200, Some(Coding::Plain)),
        ("Text/HTML; charset=utf-8", "gzip", 404, Some(Coding::Gzip)),
        ("text/html", "deflate", 200, Some(Coding::Deflate)),
        ("text/html", "br", 200, None),
        ("text/html", "gzip, gzip", 200, None),
        ("text/html", "", 206, None),
        ("application/xhtml+xml", "", 200, None),
        ("text/plain", "", 200, None),
    ] {
        let parts = parts(&[("content-type", media), ("content-encoding", encoding)], status);
        assert_eq!(page(&parts), expected, "{media} {encoding} {status}");
    }
    assert_eq!(page(&parts(&[], 200)), None);
}

/// Sends a page in pieces of a size.
async fn sent(page: Vec<u8>, coding: Coding, size: usize) -> Result<Vec<u8>, Broken> {
    let pieces: Vec<_> = page.chunks(size).map(Bytes::copy_from_slice).collect();
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
    let body = StreamBody::new(futures::stream::iter(frames)).boxed_unsync();
    let collected = with_links(body, coding, |link| format!("/prefix{link}")).collect().await?;
    Ok(collected.to_bytes().to_vec())
}

#[tokio::test]
async fn pages_keep_their_compression() {
    let link = |prefix: &str| format!("<p>text</p>\n<a href=\"{prefix}/x\">link</a>");
    let (page, expected) = (link("").repeat(1000), link("/prefix").repeat(1000));
    let page = page.as_bytes();
    let packed = |mut coder: Box<dyn Coder>| {
        coder.write_all(page).unwrap();
        coder.end().unwrap();
        mem::take(coder.coded())
    };
    let level = Compression::best();
    let gzip = packed(Box::new(GzEncoder::new(Vec::new(), level)));
    let zlib = packed(Box::new(ZlibEncoder::new(Vec::new(), level)));
    let bare = packed(Box::new(DeflateEncoder::new(Vec::new(), level)));
    for size in [1, 7, 100_000] {
        let mut told = String::new();
        let plain = sent(page.to_vec(), Coding::Plain, size).await.unwrap();
        assert!(plain == expected.as_bytes());
        let answer = sent(gzip.clone(), Coding::Gzip, size).await.unwrap();
        read::GzDecoder::new(&answer[..]).read_to_string(&mut told).unwrap();
        assert!(mem::take(&mut told) == expected);
        let answer = sent(zlib.clone(), Coding::Deflate, size).await.unwrap();
        read::ZlibDecoder::new(&answer[..]).read_to_string(&mut told).unwrap();
        assert!(mem::take(&mut told) == expected);
        let answer = sent(bare.clone(), Coding::Deflate, size).await.unwrap();
        read::DeflateDecoder::new(&answer[..]).read_to_string(&mut told).unwrap();
        assert!(told == expected);
    }
    assert!(sent(gzip[..100].to_vec(), Coding::Gzip, 10).await.is_err());
    assert!(sent(b"<a href=/x>".to_vec(), Coding::Gzip, 10).await.is_err());
}

#[test]
fn little_is_kept_of_a_page_that_unpacks_to_much() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let packed = Bytes::from(encoder.finish().unwrap());
    let (mut codec, mut came) = (Codec::of(Coding::Gzip), packed);
    let mut whole = 0;
    while !came.is_empty() {
        let read = codec.read(&came.split_to(PIECE.min(came.len()))).unwrap();
        assert!(read.len() <= 2 << 20, "{}", read.len());
        whole += read.len();
    }
    assert_eq!(whole, 64 << 20);
}
