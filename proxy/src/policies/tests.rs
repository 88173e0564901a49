use super::*;

fn refuse(_: &str) -> Result<(), IptablesError> {
    Err(IptablesError::Run { program: "nft", source: std::io::ErrorKind::NotFound.into() })
}

#[tokio::test]
async fn a_table_that_was_written_is_removed_until_that_works() {
    let filled = || Table { chains: [("a".to_owned(), Default::default())].into(), ..Default::default() };
    let mut writer = Writer::default();
    writer.write_with(Table::default(), refuse).await.unwrap_err();
    writer.write_with(filled(), refuse).await.unwrap_err();
    assert!(!writer.works);
    writer.write_with(filled(), |_| Ok(())).await.unwrap();
    for _ in 0..2 {
        writer.write_with(Table::default(), refuse).await.unwrap_err();
        assert!(writer.works && writer.written.is_none());
    }
    let removes = |text: &str| if text == table::REMOVE { Ok(()) } else { refuse(text) };
    writer.write_with(Table::default(), removes).await.unwrap();
    // It is gone, and nobody is called any more.
    writer.write_with(Table::default(), refuse).await.unwrap();
}
