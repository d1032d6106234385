/// Why an argument is not the number it should be; clap adds the argument's name and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NumberError {
    #[error("expected a whole number from {min} to {max}")]
    NotWhole { min: u64, max: u64 },
    #[error("expected at least {min}")]
    TooSmall { min: u64 },
    #[error("expected at most {max}")]
    TooLarge { max: u64 },
}

/// Reads a whole number from `MIN` to `MAX`.
pub(super) fn whole_number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(
    text: &str,
) -> Result<T, NumberError> {
    let too_large = NumberError::TooLarge { max: MAX };
    match text.parse::<u64>() {
        Ok(number) if number < MIN => Err(NumberError::TooSmall { min: MIN }),
        Ok(number) if number > MAX => Err(too_large),
        Ok(number) => T::try_from(number).map_err(|_| too_large),
        Err(_) => Err(NumberError::NotWhole { min: MIN, max: MAX }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_that_is_missed_is_named() {
        let read = whole_number::<usize, 1, 1024>;
        assert_eq!((read("1"), read("1024")), (Ok(1), Ok(1024)));
        let say = |text| read(text).unwrap_err().to_string();
        assert_eq!(say("0"), "expected at least 1");
        assert_eq!(say("1025"), "expected at most 1024");
        for text in ["", "two", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(say(text), "expected a whole number from 1 to 1024", "{text}");
        }
    }
}
