//! The profiles of `hardware-profiles/`, inside the binary.

use super::Profile;
use crate::TopologyError;

/// Name and text of every shipped profile, in the order in which a machine is matched: the special ones first,
/// the one for all last.
pub const SHIPPED: [(&str, &str); 5] = [
    ("fpga-server", include_str!("../../../hardware-profiles/fpga-server.toml")),
    ("gpu-server", include_str!("../../../hardware-profiles/gpu-server.toml")),
    ("reference-server", include_str!("../../../hardware-profiles/reference-server.toml")),
    ("ci", include_str!("../../../hardware-profiles/ci.toml")),
    ("commodity-pc", include_str!("../../../hardware-profiles/commodity-pc.toml")),
];

/// The shipped profile `name`.
///
/// # Errors
///
/// [`TopologyError::ProfileUnknown`], which lists the names there are.
pub fn shipped(name: &str) -> Result<Profile, TopologyError> {
    let Some((_, text)) = SHIPPED.into_iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = SHIPPED.into_iter().map(|(known, _)| known).collect();
        return Err(TopologyError::ProfileUnknown { name: name.to_owned(), known: known.join(", ") });
    };
    Profile::parse(name, text)
}
