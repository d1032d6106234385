//! Calibrations: measured, compared, kept.

use crate::fake::{FakeDevice, calibration};
use citius_hashing::{
    Backend, BatchShape, Calibration, Calibrations, CalibrationsError, Cost, CpuBackend, Hasher, SizeClass,
};
use std::fs;

#[test]
fn the_processor_can_be_measured() {
    let backend = CpuBackend::new(Hasher::cpu().cpu_kind()).unwrap();
    let measured = Calibration::measure(&backend).unwrap();
    assert_eq!(measured.identity, backend.identity());
    for cost in measured.costs {
        assert!(cost.fixed_ns >= 0.0 && cost.per_message_ns >= 0.0 && cost.per_byte_ns >= 0.0, "{cost:?}");
        assert!(cost.per_message_ns + cost.per_byte_ns > 0.0, "{cost:?}");
    }
    let of = |count: usize| measured.predict_ns(&BatchShape::of(vec![100; count]));
    assert!(of(1) > 0.0 && of(1_000_000) > 100.0 * of(1_000), "{} {} {}", of(1), of(1_000), of(1_000_000));
}

#[test]
fn each_message_is_predicted_by_the_cost_of_its_class() {
    let cost =
        |number: f64| Cost { fixed_ns: 1_000.0 * number, per_message_ns: number, per_byte_ns: 0.25 * number };
    let calibration =
        Calibration { identity: String::new(), costs: [cost(1.0), cost(2.0), cost(4.0), cost(8.0)] };
    let predict = |lengths: &[usize]| calibration.predict_ns(&BatchShape::of(lengths.iter().copied()));
    assert_eq!(predict(&[]), 0.0);
    assert_eq!(predict(&[0]), 1_001.0);
    assert_eq!(predict(&[135, 135]), 1_002.0 + 0.25 * 270.0);
    assert_eq!(predict(&[136]), 2_002.0 + 0.5 * 136.0);
    assert_eq!(predict(&[272]), 4_004.0 + 272.0);
    assert_eq!(predict(&[543]), 4_004.0 + 543.0);
    assert_eq!(predict(&[544]), 8_008.0 + 2.0 * 544.0);
    // The largest fixed cost there is, once; 17 blocks are as three messages of eight.
    assert_eq!(predict(&[0, 2_176]), 8_000.0 + 1.0 + 24.0 + 2.0 * 2_176.0);
    assert_eq!(SizeClass::ALL.map(SizeClass::blocks_max), [1, 2, 4, 8]);
}

#[test]
fn a_device_pays_from_where_it_wins_by_the_margin() {
    let cpu = calibration("cpu", 0.0, 30.0);
    let device = calibration("device", 10_000.0, 5.0);
    // 1.2 * (10,000 + 5 n) < 30 n, from n = 501 on.
    assert_eq!(device.crossover(&cpu, 32, 20), Some(501));
    assert_eq!(device.crossover(&cpu, 532, 0), Some(401));
    assert_eq!(calibration("slow", 0.0, 30.0).crossover(&cpu, 32, 20), None);
    assert_eq!(calibration("fast", 0.0, 1.0).crossover(&cpu, 32, 20), Some(1));
}

#[test]
fn calibrations_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibrations.json");
    assert_eq!(Calibrations::load(&path).unwrap(), Calibrations::default(), "no file, none measured");
    let mut calibrations = Calibrations::default();
    calibrations.insert(calibration("b", 1.5, 2.0));
    calibrations.insert(calibration(&FakeDevice::default().identity(), 1e9, 0.1));
    calibrations.insert(calibration("b", 1.0 / 3.0, 2.0));
    calibrations.save(&path).unwrap();
    let loaded = Calibrations::load(&path).unwrap();
    assert_eq!(loaded, calibrations);
    assert_eq!(loaded.iter().count(), 2);
    assert_eq!(loaded.get("b"), Some(&calibration("b", 1.0 / 3.0, 2.0)));
    assert_eq!(loaded.get("c"), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_no_calibration_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibrations.json");
    let cost = r#"{"fixed_ns": 1.0, "per_message_ns": 1.0, "per_byte_ns": 1.0}"#;
    let of = |first: &str| {
        format!(
            r#"{{"version": 1, "calibrations": [{{"identity": "x", "costs": [{first}, {cost}, {cost}, {cost}]}}]}}"#
        )
    };
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Calibrations::load(&path)
    };
    assert!(load(&of(cost)).is_ok());
    assert!(matches!(load(""), Err(CalibrationsError::Form { .. })));
    assert!(matches!(load(&of(&format!("{cost}, {cost}"))), Err(CalibrationsError::Form { .. })));
    assert!(matches!(load(&of(&cost.replace("fixed_ns", "fixed"))), Err(CalibrationsError::Form { .. })));
    let other = load(&of(cost).replace("\"version\": 1", "\"version\": 2")).unwrap_err().to_string();
    assert!(other.ends_with("version is 2, expected 1"), "{other}");
    let negative = load(&of(&cost.replacen("1.0", "-1.0", 1))).unwrap_err().to_string();
    assert!(negative.contains("fixed_ns of x is -1, expected a finite number"), "{negative}");
    let error = Calibrations::load(folder.path()).unwrap_err();
    assert!(matches!(error, CalibrationsError::File { .. }), "{error}");
    let unwritable = Calibrations::default().save(&folder.path().join("no/such/folder.json"));
    assert!(matches!(unwritable, Err(CalibrationsError::File { .. })));
}
