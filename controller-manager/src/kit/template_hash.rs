//! The name of a pod template: a short hash that is part of the ReplicaSet's
//! name and of the label `pod-template-hash`. Stable for equal templates; any
//! value does, since ReplicaSets are recognised by their template, not by it.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::frame::to_value;

/// Letters and digits that form no words and are not mistaken for each other.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The hash of a template; `collisions` makes another one of the same template.
pub fn of(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut text = to_value(template).to_string();
    if let Some(collisions) = collisions {
        text.push_str(&collisions.to_string());
    }
    let mut hash =
        text.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let mut letters = String::with_capacity(10);
    for _ in 0..10 {
        let index = usize::try_from(hash % 27).expect("a remainder of 27 fits");
        letters.push(char::from(ALPHABET[index]));
        hash /= 27;
    }
    letters
}
