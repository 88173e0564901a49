use proptest::prelude::*;

use super::*;

/// Feeds a page in pieces of a size, with `[…]` around each link.
fn fed(page: &[u8], size: usize) -> Vec<u8> {
    let mut links = Links::new(|link: &str| format!("[{link}]"));
    let mut out = Vec::new();
    page.chunks(size.max(1)).for_each(|piece| links.feed(piece, &mut out));
    links.finish(&mut out);
    out
}

#[test]
fn links_are_found_wherever_a_browser_finds_them() {
    for (page, expected) in [
        (r#"<a href="/x">y</a>"#, r#"<a href="[/x]">y</a>"#),
        ("<A HREF='/x' title=\"href='/y'\">", "<A HREF='[/x]' title=\"href='/y'\">"),
        ("<a\n\thref = /x/ class=c>", "<a\n\thref = [/x/] class=c>"),
        ("<img src=/a usemap=#m><br/>", "<img src=[/a] usemap=[#m]><br/>"),
        ("<link href=/a.css/>", "<link href=[/a.css/]>"),
        ("<a href>x", "<a href>x"),
        ("<a href=>x", "<a href=>x"),
        ("<a href=''>", "<a href='[]'>"),
        ("<a/href=/x>", "<a/href=[/x]>"),
        ("<a b=c\"d href=/x>", "<a b=c\"d href=[/x]>"),
        ("<a data-href=/x><b href=/y>", "<a data-href=/x><b href=/y>"),
        ("<form action=/p><button formaction='/q'>", "<form action=[/p]><button formaction='[/q]'>"),
        ("<video poster=/p src=/s><source src=/t>", "<video poster=[/p] src=[/s]><source src=[/t]>"),
        ("</a href=/x>", "</a href=/x>"),
        ("</a x='>' href=/x><a href=/y>", "</a x='>' href=/x><a href=[/y]>"),
        ("<a title='>' href=/x>", "<a title='>' href=[/x]>"),
        ("1 < 2 <a href=/x>", "1 < 2 <a href=[/x]>"),
        ("<<a href=/x>", "<<a href=[/x]>"),
        ("</><a href=/x>", "</><a href=[/x]>"),
        ("<!-- <a href=/x> --><a href=/y>", "<!-- <a href=/x> --><a href=[/y]>"),
        ("<!--><a href=/y>", "<!--><a href=[/y]>"),
        ("<!---><a href=/y>", "<!---><a href=[/y]>"),
        ("<!--a--!><a href=/y>", "<!--a--!><a href=[/y]>"),
        ("<!--!><a href=/y>--><a href=/z>", "<!--!><a href=/y>--><a href=[/z]>"),
        ("<!-- -- > <a href=/x>--->", "<!-- -- > <a href=/x>--->"),
        ("<!doctype html><?a b?><a href=/x>", "<!doctype html><?a b?><a href=[/x]>"),
        (
            "<script src=/s>'<a href=/x>'</script><a href=/y>",
            "<script src=[/s]>'<a href=/x>'</script><a href=[/y]>",
        ),
        (
            "<style>a</styles><a href=/x></STYLE ><a href=/y>",
            "<style>a</styles><a href=/x></STYLE ><a href=[/y]>",
        ),
        ("<textarea><</textarea><a href=/y>", "<textarea><</textarea><a href=[/y]>"),
        ("<title></<a href=/x></title/><a href=/y>", "<title></<a href=/x></title/><a href=[/y]>"),
        ("<plaintext></plaintext><a href=/x>", "<plaintext></plaintext><a href=/x>"),
        ("<a href=\"/unfinished", "<a href=\"/unfinished"),
    ] {
        for size in 1..=page.len() {
            assert_eq!(String::from_utf8(fed(page.as_bytes(), size)).unwrap(), expected, "{page} in {size}");
        }
    }
}

#[test]
fn a_tag_without_end_is_not_kept() {
    let mut page = b"<a title='".to_vec();
    page.resize(10 * LARGEST_TAG, b'x');
    let mut links = Links::new(|_: &str| String::new());
    let mut out = Vec::new();
    for piece in page.chunks(1000) {
        links.feed(piece, &mut out);
        assert!(links.tag.len() <= LARGEST_TAG);
    }
    links.feed(b"' href=/x><a href=/y>", &mut out);
    links.finish(&mut out);
    page.extend_from_slice(b"' href=/x><a href=>");
    assert!(out == page);
}

proptest! {
    #[test]
    fn all_else_stays_as_it_is(page in "[<>/!?a-f='\" \\-]{0,80}|(<|>|a |href=|'|\"|<!--|-->|</|script|x){0,30}", size in 1usize..9) {
        let whole = fed(page.as_bytes(), page.len());
        prop_assert_eq!(&fed(page.as_bytes(), size), &whole);
        let without: Vec<u8> = whole.into_iter().filter(|byte| !b"[]".contains(byte)).collect();
        prop_assert_eq!(String::from_utf8(without).unwrap(), page);
    }
}
