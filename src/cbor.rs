//! Small parts of the records that an upgrade hands over, for the types that are in them.

/// Whether a field has its default value, and need not be written.
pub fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
