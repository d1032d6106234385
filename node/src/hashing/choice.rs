use std::str::FromStr;

/// Which devices are used beside the processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// None: no host is looked for.
    None,
    /// Whatever the command thinks fit.
    #[default]
    Auto,
    /// All that are found, with each of their kernels.
    All,
    /// Those of these names: of a backend (`opencl-vec8`), of an interface (`vulkan`), or of a device in its
    /// interface (`opencl:0:card`).
    Named(Vec<String>),
}

/// Why a text names no devices; clap adds the argument's name and value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceChoiceError {
    /// A name is nothing.
    #[error("a name is empty, expected none, auto, all, or names with commas between")]
    Empty,
    /// A word that stands for itself, in a list.
    #[error("{word} stands in a list, expected it alone")]
    NotAlone {
        /// The word.
        word: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => return Ok(Self::None),
            "auto" => return Ok(Self::Auto),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let name = |name: &str| match name.trim() {
            "" => Err(DeviceChoiceError::Empty),
            word @ ("none" | "auto" | "all") => Err(DeviceChoiceError::NotAlone { word: word.to_owned() }),
            name => Ok(name.to_owned()),
        };
        text.split(',').map(name).collect::<Result<_, _>>().map(Self::Named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_alone_and_names_in_lists() {
        let read = |text: &str| text.parse::<DeviceChoice>();
        assert_eq!(read("none"), Ok(DeviceChoice::None));
        assert_eq!(read("auto"), Ok(DeviceChoice::default()));
        assert_eq!(read("all"), Ok(DeviceChoice::All));
        assert_eq!(
            read("vulkan, opencl-vec8"),
            Ok(DeviceChoice::Named(vec!["vulkan".into(), "opencl-vec8".into()]))
        );
        assert_eq!(read(""), Err(DeviceChoiceError::Empty));
        assert_eq!(read("vulkan,"), Err(DeviceChoiceError::Empty));
        assert_eq!(read("gpu,auto"), Err(DeviceChoiceError::NotAlone { word: "auto".into() }));
    }
}
