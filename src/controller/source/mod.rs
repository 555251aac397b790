//! The source role: claims the checkpoints of pods on this node, captures, stores, and takes the
//! image away when its checkpoint is deleted.
//!
//! A checkpoint's `Ready` is Unknown while it may still become True, and False when it has ended
//! without an image. It ends within `timeoutSeconds` of its creation whatever happens: by the agent
//! that claimed it, and while nobody has, by whichever agent comes first after that time.
//!
//! What a claim can't outlive: a node that is gone for good. Nobody else may write a claimed status
//! (the schema and the admission policy see to that), so such a checkpoint stays as it is, and its
//! finalizer has to be taken away by hand.

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
