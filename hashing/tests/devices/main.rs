//! Devices, with one that behaves as it is told: what they cost, and which batches they get.

mod calibration;
mod dispatch;
mod fake;
