//! Places at which tests end the process, as a crash would. There are none in what is installed: the feature `failpoints`
//! is on only where the acceptance tests are part of the build.

/// Ends the process here if the file named by `CONCORDAT_DIE_AT` says so: it holds the place's name.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "for tests alone: it is not in what is installed")]
pub fn at(place: &str) {
    let Some(file) = std::env::var_os("CONCORDAT_DIE_AT") else { return };
    if std::fs::read_to_string(file).is_ok_and(|armed| armed.trim() == place) {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn at(_place: &str) {}
