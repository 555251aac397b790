//! The source role: claims the checkpoints of pods on this node, captures, stores, and takes the
//! image away when its checkpoint is deleted.
//!
//! A checkpoint's `Ready` is Unknown while it may still become True, and False when it has ended
//! without an image. It ends within `timeoutSeconds` of its creation: by the agent that claimed it, as
//! long as there is one on that node, and while nobody has claimed it by whichever agent comes first
//! after that time.
//!
//! What this does not reach: a checkpoint that was claimed on a node that is gone for good. Its `Ready`
//! stays Unknown, `timeoutSeconds` or not, and its finalizer keeps a deleted one in sight: nobody else
//! may write a claimed status (the admission policy sees to that). Let it go by
//! `kubectl patch netcheckpoint NAME --type=merge -p '{"metadata":{"finalizers":null}}'`; what may have
//! come to the store stays there. An agent that comes back on that node ends it by itself.

mod archive;
mod claim;
mod course;
pub(super) mod holding;
mod judge;
mod lock;
mod reading;
mod record;
mod removal;
mod run;
mod spool;
mod standing;
mod work;

pub use run::run;
