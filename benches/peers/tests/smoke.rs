//! Everyone at the smoke size: each knows what it was told, and still runs.

use citius_benches::{
    Size,
    stores::{Options, contest_here},
};
use citius_peers::{NAMES, roster};

#[test]
fn everyone_knows_what_transfers_left() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::of(Size::Smoke, directory.path().to_owned());
    let figures = contest_here(&options, roster, &NAMES.map(String::from)).unwrap();
    assert_eq!(figures.reference, "nomt");
    assert_eq!(figures.contenders.len(), NAMES.len());
    assert!(figures.contenders.iter().all(|who| who.transfers_per_second > 0.0), "{figures}");
}
