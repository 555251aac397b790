//! The source role: claims the checkpoints of pods on this node, captures, stores, and takes the
//! image away when its checkpoint is deleted.
//!
//! A checkpoint's `Ready` is Unknown while it may still become True, and False when it has ended
//! without an image. It ends within `timeoutSeconds` of its creation whatever happens: by the agent
//! that claimed it, and while nobody has, by whichever agent comes first after that time.

mod claim;
mod course;
mod judge;
mod reading;
mod record;
mod removal;
mod run;
mod spool;
mod work;

pub use run::run;
