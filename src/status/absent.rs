//! The status listener of a build without it: nothing is kept for it.

/// It has no clients.
pub const CLIENTS_MAX: usize = 0;

/// The latest refusals.
pub mod refusal {
    use crate::reason::CloseReason;
    use crate::session::Session;
    use crate::time::Millis;

    /// The latest refusals: nobody is shown any.
    #[derive(Debug, Default)]
    pub struct Refusals {}

    impl Refusals {
        /// A session has ended for `reason`.
        pub fn record(&mut self, _: &Session, _: CloseReason, _: Millis) {}
    }
}
