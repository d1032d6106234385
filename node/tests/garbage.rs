//! Whatever stands in a block's files, reading them ends in a block or a typed error.

mod common;
#[path = "../../topology/tests/common/seeded.rs"]
mod seeded;

use citius_node::recorded::RecordedBlock;
use common::Fixture;
use proptest::prelude::*;
use seeded::seeded;
use serde_json::{Value, json};
use std::fs;

/// Loads the block, and has its senders recovered if that much is right.
fn load(fixture: &Fixture) {
    let folder = tempfile::tempdir().unwrap();
    fixture.write(folder.path(), false);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    match RecordedBlock::load(folder.path()) {
        Ok(block) => drop(block.recover(&citius_engine::chain::ChainSpec::mainnet(), &pool)),
        Err(error) => assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}"),
    }
}

fn count_values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count_values).sum(),
        Value::Object(fields) => fields.values().map(count_values).sum(),
        _ => 0,
    }
}

/// Replaces the `position`-th value, counted depth first; `None` removes it from its object.
fn replace(value: &mut Value, position: &mut usize, with: &Option<Value>) {
    if *position == 0 {
        *value = with.clone().unwrap_or(Value::Null);
        *position = usize::MAX;
        return;
    }
    *position -= 1;
    match value {
        Value::Array(items) => {
            for item in items {
                replace(item, position, with);
                if *position == usize::MAX {
                    return;
                }
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                replace(field, position, with);
                if *position == usize::MAX {
                    return;
                }
            }
        }
        _ => {}
    }
}

fn wrong_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        any::<bool>().prop_map(|value| Some(json!(value))),
        any::<i64>().prop_map(|value| Some(json!(value))),
        any::<u64>().prop_map(|value| Some(json!(format!("{value:#x}")))),
        any::<f64>().prop_map(|value| Some(json!(value))),
        "(0x)?[0-9a-f]{0,140}".prop_map(|value| Some(json!(value))),
        any::<String>().prop_map(|value| Some(json!(value))),
        Just(Some(json!([]))),
        Just(Some(json!({}))),
        Just(Some(json!([[null]]))),
        any::<String>().prop_map(|key| Some(json!({ key: {"balance": "0x1"} }))),
    ]
}

proptest! {
    #![proptest_config(seeded(512))]

    #[test]
    fn a_wrong_value_anywhere_is_no_panic(file in 0..4usize, position: prop::sample::Index, with in wrong_value()) {
        let mut fixture = Fixture::valid();
        let value = match file {
            0 => &mut fixture.block,
            1 => &mut fixture.pre_state,
            2 => &mut fixture.block_hashes,
            _ => fixture.expected.as_mut().unwrap(),
        };
        replace(value, &mut position.index(count_values(value)), &with);
        load(&fixture);
    }

    #[test]
    fn bytes_that_are_no_file_are_no_panic(bytes: Vec<u8>, name in 0..4usize, is_packed: bool) {
        let folder = tempfile::tempdir().unwrap();
        Fixture::valid().write(folder.path(), true);
        let name = ["block", "pre_state", "block_hashes", "expected"][name];
        let extension = if is_packed { "json.zst" } else { "json" };
        fs::write(folder.path().join(format!("{name}.{extension}")), bytes).unwrap();
        // A file of digits is JSON, but no object.
        prop_assert!(RecordedBlock::load(folder.path()).is_err());
    }
}
