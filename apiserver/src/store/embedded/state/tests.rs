use super::*;

#[test]
fn what_is_old_is_forgotten() {
    let begun = Instant::now();
    let mut state = State::default();
    for (revision, seconds, start, kept) in
        [(1, 0, 0, 1), (2, 299, 0, 2), (3, 301, 1, 2), (4, 599, 1, 3), (5, 700, 3, 2)]
    {
        let since = begun + Duration::from_secs(seconds);
        state.remember(Past { revision, since, changes: Vec::new(), undo: Undo::new() });
        assert_eq!((state.history_start, state.undo_start, state.history.len()), (start, start, kept));
    }
}
