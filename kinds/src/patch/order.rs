//! In which order the items of merged lists stand.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::{
    go::{OBJECT, go_list},
    strategic::{Mistake, SET_ORDER, is_deletion, is_directive, merge_key},
};

/// What tells an item from others: its merge key, or itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Result<&'v Value, Mistake> {
    match (key, item) {
        (None, item) => Ok(item),
        (Some(key), Value::Object(object)) => merge_key(object, key),
        (Some(_), other) => Err(Mistake::wrong_type(OBJECT, other)),
    }
}

/// The order directive must hold all of the patch's items but those that are deleted, in the patch's order.
pub(super) fn check_order(change: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Mistake> {
    if change.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in change.iter().filter(|item| key.is_none() || !is_deletion(item)) {
        if is_directive(item) && rest.len() > 0 {
            continue;
        }
        let wanted = if rest.len() > 0 { Some(identity(item, key)?) } else { None };
        let mut found = false;
        while !found && let Some(next) = rest.next() {
            found = Some(identity(next, key)?) == wanted;
        }
        if !found {
            return Err(Mistake::Other(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                go_list(change),
                go_list(order)
            )));
        }
    }
    Ok(())
}

/// Sorts merged items: those named by the patch in the patch's order; the others keep the order they had, before the
/// first of the patch's items that they used to stand in front of. Others that nobody names keep no order: those that come
/// first go to the end, the rest to the front.
pub(super) fn in_order(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Mistake> {
    let places = |order| -> Result<HashMap<_, usize>, Mistake> {
        let mut places = HashMap::new();
        for (place, item) in <[Value]>::iter(order).enumerate() {
            places.entry(identity(item, key)?).or_insert(place);
        }
        Ok(places)
    };
    let (in_patch, on_server) = (places(patch_order)?, places(server_order)?);
    let (mut patched, mut others) = (Vec::new(), VecDeque::new());
    let mut behind = VecDeque::new();
    for item in merged {
        let id = identity(&item, key)?;
        let server = on_server.get(id).copied();
        match in_patch.get(id) {
            Some(place) => patched.push((*place, server, item)),
            None if server.is_some() => others.push_back((server, item)),
            None if others.is_empty() => behind.push_front((None, item)),
            None => others.push_front((None, item)),
        }
    }
    patched.sort_by_key(|(place, ..)| *place);
    others.make_contiguous().sort_by_key(|(server, _)| *server);
    let mut sorted = Vec::with_capacity(patched.len() + others.len());
    let mut others = others.into_iter().chain(behind).peekable();
    for (_, server, item) in patched {
        while let Some((_, other)) = others.next_if(|(other, _)| other.is_some() && *other < server) {
            sorted.push(other);
        }
        sorted.push(item);
    }
    sorted.extend(others.map(|(_, item)| item));
    Ok(sorted)
}
