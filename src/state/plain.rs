//! What of a class's table is the base's: then no value need be made for it of thousands of messages.

use super::table::Class;

impl Class {
    /// Whether [`Self::mend`] looks at a value at all.
    #[must_use]
    pub fn mends(&self) -> bool {
        !std::ptr::fn_addr_eq(self.mend, Self::BASE.mend)
    }

    /// As [`Self::mends`].
    #[must_use]
    pub fn compares_more(&self) -> bool {
        !std::ptr::fn_addr_eq(self.also, Self::BASE.also)
    }

    /// As [`Self::mends`].
    #[must_use]
    pub fn finds_faults(&self) -> bool {
        !std::ptr::fn_addr_eq(self.faults, Self::BASE.faults)
    }

    /// As [`Self::mends`].
    #[must_use]
    pub fn may_be_fleeting(&self) -> bool {
        !std::ptr::fn_addr_eq(self.fleeting, Self::BASE.fleeting)
    }
}
