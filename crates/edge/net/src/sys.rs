//! What only Linux has, behind six names; the portable side does the same work by other means.
//! Chosen by target, or by the feature `portable`, which lets Linux test the other side.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) use linux::{
    SENDS_FILES, hung_up, keep_pages_small, send_file, send_more, set_congestion,
};

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
pub(crate) use portable::{
    SENDS_FILES, hung_up, keep_pages_small, send_file, send_more, set_congestion,
};
