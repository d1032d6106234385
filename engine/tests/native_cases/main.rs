//! Small blocks, each about one rule of the protocol: executed serially, in parallel on two to eight threads many
//! times over, in parallel with the last transaction first, and by the oracle. All must agree, and the state
//! after must be what the rule says.

mod beneficiary;
mod case;
mod chains;
mod code;
mod creation;
mod delegation;
mod destruction;
mod emptiness;
mod needs;
#[path = "../common/oracle.rs"]
mod oracle;
mod protocol;
mod refusals;
mod schedule;
mod senders;
mod streams;
