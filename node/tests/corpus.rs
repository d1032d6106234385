//! Recorded blocks of the main network, if `CITIUS_CORPUS` names a folder of them.

mod common;

use citius_engine::chain::ChainSpec;
use citius_node::recorded::{RecordedBlock, block_folders};
use citius_workloads::BlockShape;
use common::{citius, corpus, read, replay};
use serde_json::json;
use std::{
    fs,
    io::{Write, stderr},
};

#[test]
fn every_block_decodes_and_its_senders_are_those_recorded() {
    let Some(corpus) = corpus() else { return };
    let pool = rayon::ThreadPoolBuilder::new().build().unwrap();
    for folder in block_folders(&[corpus]).unwrap() {
        let recorded = RecordedBlock::load(&folder).unwrap();
        assert_eq!(recorded.contradiction(), None, "{}", recorded.name);
        let block = recorded.recover(&ChainSpec::mainnet(), &pool).unwrap();
        assert_eq!(block.transactions.len(), recorded.transactions.len());
        assert!(recorded.expected.is_some());
    }
}

#[test]
fn every_block_matches_its_record() {
    let Some(corpus) = corpus() else { return };
    let out = tempfile::tempdir().unwrap();
    for mode in [&[][..], &["--stream", "--strategy", "optimistic", "--threads", "4"]] {
        let mut arguments = vec![corpus.to_str().unwrap(), "--out", out.path().to_str().unwrap()];
        arguments.extend(mode);
        let (code, report) = replay(&arguments);
        let blocks = report["blocks"].as_array().unwrap();
        for entry in blocks {
            assert_eq!(entry["matches"], json!(true), "{mode:?}: {entry:#}");
            for field in ["error", "cachedb_note", "record_note"] {
                assert_eq!(entry[field], json!(null), "{mode:?}: {entry:#}");
            }
            assert!(out.path().join(format!("{}.json", entry["dir"].as_str().unwrap())).is_file());
        }
        assert_eq!(code, 0);
        assert!(!blocks.is_empty());
    }
}

/// The shape of a block that [`BlockShape::MAINNET`] takes the median of.
fn shape(recorded: &RecordedBlock) -> Option<BlockShape> {
    let header = &recorded.header;
    if !BlockShape::counts_for_mainnet(header.number, recorded.transactions.len(), header.gas_used) {
        return None;
    }
    let receipts = &recorded.expected.as_ref()?.receipts;
    let pairs = recorded.transactions.iter().zip(receipts);
    BlockShape::of(&pairs.map(|(tx, receipt)| (tx.from, receipt.gas_used)).collect::<Vec<_>>())
}

#[test]
fn the_shape_of_mainnet_like_workloads_is_that_of_the_recorded_blocks() {
    let Some(corpus) = corpus() else { return };
    let folders = block_folders(&[corpus]).unwrap();
    let blocks: Vec<_> = folders.iter().map(|folder| RecordedBlock::load(folder).unwrap()).collect();
    // The first and the last of those that count.
    let holds = |number| blocks.iter().any(|block| block.header.number == number);
    if !holds(2_179_522) || !holds(25_229_957) {
        return stderr().write_all(b"SKIPPED: CITIUS_CORPUS holds other blocks\n").unwrap();
    }
    let shapes: Vec<_> = blocks.iter().filter_map(shape).collect();
    assert_eq!(shapes.len(), BlockShape::MAINNET_BLOCKS);
    let now = BlockShape::median(&shapes).unwrap();
    for ((name, now), (_, constant)) in now.fields().into_iter().zip(BlockShape::MAINNET.fields()) {
        assert!((now / constant - 1.0).abs() < 0.001, "{name}: {now}, the constant is {constant}");
    }
}

#[test]
fn a_corrupted_copy_does_not_match() {
    let Some(corpus) = corpus() else { return };
    let copy = tempfile::tempdir().unwrap();
    let source = block_folders(&[corpus])
        .unwrap()
        .into_iter()
        .max_by_key(|folder| RecordedBlock::load(folder).map_or(0, |block| block.transactions.len()));
    let source = source.unwrap();
    for file in source.read_dir().unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    // What a run writes is what the record holds: corrupt that.
    let out = tempfile::tempdir().unwrap();
    let arguments = ["--out", out.path().to_str().unwrap()];
    assert_eq!(replay(&[&[copy.path().to_str().unwrap()], &arguments[..]].concat()).0, 0);
    let written = fs::read_dir(out.path()).unwrap().next().unwrap().unwrap().path();
    let mut expected = read(&written);
    expected["receipts"][0]["cumulativeGasUsed"] = json!(1);
    fs::write(copy.path().join("expected.json"), expected.to_string()).unwrap();
    let (code, report) = replay(&[copy.path().to_str().unwrap()]);
    assert_eq!((code, &report["blocks"][0]["matches"]), (1, &json!(false)));
}

#[test]
fn unsupported_transaction_types_are_named() {
    let Some(corpus) = corpus() else { return };
    let other_chain = corpus.with_file_name("rise");
    if !other_chain.is_dir() {
        return stderr().write_all(b"SKIPPED: CITIUS_CORPUS holds no blocks of another chain\n").unwrap();
    }
    let output = citius(&["replay", other_chain.to_str().unwrap()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("0x7e") && stderr.contains("not supported"), "{stderr}");
}
