use super::StoresError;
use crate::Size;
use std::{env, path::PathBuf};

/// What is measured, how much of it, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Parts to run.
    pub parts: Vec<String>,
    /// Where the stores are made, in folders of their own that are removed again.
    pub directory: PathBuf,
    /// Accounts of `transfers` and `nodes`.
    pub accounts: u32,
    /// Transfers of a commit.
    pub transfers: u32,
    /// Commits of one turn.
    pub turn: u32,
    /// Turns of everyone.
    pub turns: u32,
    /// Threads that read at a time.
    pub readers: usize,
    /// Memory for each contender's caches, in MiB.
    pub cache_mib: usize,
    /// Commits after which a checkpoint is begun in the background.
    pub checkpoint_every: u64,
    /// Who takes part; all who can if empty.
    pub contenders: Vec<String>,
    /// Leaves of the states of `curves`, smallest first.
    pub leaves: Vec<usize>,
    /// Leaves of the state of `commit`.
    pub state: usize,
    /// Blocks that are timed: of `commit` in each stretch, of `nodes` together.
    pub blocks: u32,
    /// Writes that are in the journal when `curves` opens a store again.
    pub journalled: usize,
    /// Where figures are written.
    pub json: Option<PathBuf>,
    /// Where `curves` are drawn.
    pub svg: Option<PathBuf>,
    /// Who this process is, if it takes part.
    pub contender: Option<String>,
}

impl Options {
    /// Those of a size, in a directory.
    #[must_use]
    pub fn of(size: Size, directory: PathBuf) -> Self {
        Self {
            parts: Vec::new(),
            directory,
            accounts: size.pick(5_000, 4_000_000),
            transfers: size.pick(200, 10_000),
            turn: size.pick(2, 4),
            turns: size.pick(2, 7),
            readers: size.pick(2, 16),
            cache_mib: size.pick(4, 64),
            checkpoint_every: size.pick(2, 4),
            contenders: Vec::new(),
            leaves: size.pick(vec![5_000, 20_000], vec![1_000_000, 2_000_000, 5_000_000, 10_000_000]),
            state: size.pick(20_000, 5_000_000),
            blocks: size.pick(4, 200),
            journalled: size.pick(5_000, 1_000_000),
            json: None,
            svg: None,
            contender: None,
        }
    }

    /// By the arguments of this process, of which some may be `parts`.
    ///
    /// # Errors
    ///
    /// [`StoresError::Argument`].
    pub fn parse(size: Size, parts: &[&str]) -> Result<Self, StoresError> {
        let built = env::current_exe()?;
        let directory = built.ancestors().nth(3).unwrap_or(&built).join("stores");
        let mut options = Self::of(size, directory);
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let missing = || StoresError::Argument(format!("{argument} needs a value"));
                arguments.next().ok_or_else(missing)
            };
            match argument.as_str() {
                "--bench" | "--test" => {}
                "--directory" => options.directory = value()?.into(),
                "--accounts" => options.accounts = number(&argument, &value()?)?,
                "--transfers" => options.transfers = number(&argument, &value()?)?,
                "--turn" => options.turn = number(&argument, &value()?)?,
                "--turns" => options.turns = number(&argument, &value()?)?,
                "--readers" => options.readers = number(&argument, &value()?)?,
                "--cache-mib" => options.cache_mib = number(&argument, &value()?)?,
                "--checkpoint-every" => options.checkpoint_every = number(&argument, &value()?)?,
                "--contenders" => options.contenders = value()?.split(',').map(String::from).collect(),
                "--leaves" => {
                    let each = value()?;
                    options.leaves =
                        each.split(',').map(|each| number(&argument, each)).collect::<Result<_, _>>()?;
                }
                "--state" => options.state = number(&argument, &value()?)?,
                "--blocks" => options.blocks = number(&argument, &value()?)?,
                "--journalled" => options.journalled = number(&argument, &value()?)?,
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                "--contender" => options.contender = Some(value()?),
                part if parts.contains(&part) => options.parts.push(argument),
                other => {
                    return Err(StoresError::Argument(format!(
                        "`{other}` is none of {parts:?} and no option"
                    )));
                }
            }
        }
        if options.parts.is_empty() {
            options.parts = parts.iter().map(|part| String::from(*part)).collect();
        }
        Ok(options)
    }
}

fn number<T: TryFrom<u64>>(option: &str, value: &str) -> Result<T, StoresError> {
    let number = value.replace('_', "").parse::<u64>().ok().filter(|number| *number > 0);
    let wrong = || StoresError::Argument(format!("{option} is `{value}`, not a number from 1 on"));
    number.and_then(|number| number.try_into().ok()).ok_or_else(wrong)
}
