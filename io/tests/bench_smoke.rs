//! The bench at its smoke size: it reads what it should, and still runs.

#[allow(dead_code, reason = "its `main` reads arguments, which tests have others of")]
#[path = "../benches/reads.rs"]
mod reads;

#[test]
fn the_bench_of_reads_runs() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut options = reads::smoke(directory.path().to_owned());
    options.json = Some(directory.path().join("result.json"));
    let result = reads::run(&options).unwrap();
    assert!(result["queue_depth_64"]["iops"].as_f64().unwrap() > 0.0);
    assert!(result["ratios"]["cpu_of_pread_32"].is_number());
    let written = std::fs::read_to_string(directory.path().join("result.json")).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["disk"], result["disk"]);
}
