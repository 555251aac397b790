//! The reasons of conditions, events and metric labels: bounded, documented, the same words everywhere.

use std::fmt;

/// An enum of reasons with what each means and what a person can do about it.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident: $meaning:literal, $advice:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* #[doc = $meaning] $variant,)+
        }

        impl $name {
            /// All, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As it stands in a condition, an event and a metric's label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What a person can do; empty when there is nothing to do.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }

            /// The reason of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// Reasons of a `NetCheckpoint`'s conditions.
    Reason {
        CheckpointInProgress: "The agent of the pod's node is at it.",
            "Wait; it ends within timeoutSeconds.";
        CheckpointCompleted: "The image is stored and can be restored from.",
            "";
        NetworkCaptured: "The pod's network was read in one instant.",
            "";
        ImageStored: "The store has confirmed the image.",
            "";
        ArchiveStored: "The store has confirmed the archive of the pod's container.",
            "";
        ArchiveRefused: "The archive that the annotation netckpt.io/archive names was not stored: it is not there, not of this pod, or too large, or the store refused it.",
            "See the message; the image of the network is good. Checkpoint the container again, and change the annotation.";
        Deleting: "The object is being deleted, and the image with it unless it is retained.",
            "Wait; the object vanishes once the store has confirmed.";
        SourcePodNotFound: "There is no pod of that name in the namespace.",
            "Check sourcePodName and the namespace, and create another NetCheckpoint.";
        SourcePodReplaced: "The pod has another UID than asked for, or was replaced while it was captured.",
            "Create another NetCheckpoint with the UID of the pod that is there now.";
        SourcePodNotRunning: "The pod has no running sandbox: it is not scheduled, not started, or has ended.",
            "Wait until the pod runs, and create another NetCheckpoint.";
        HostNetwork: "The pod uses the node's own network, which is not the pod's to checkpoint.",
            "Nothing to do: a hostNetwork pod has no network of its own.";
        NodeHasNoAgent: "No ready agent runs on the pod's node.",
            "See why the DaemonSet netckpt has no ready pod there (kubectl get pods -A -l app.kubernetes.io/name=netckpt -o wide).";
        SandboxNotFound: "The container runtime does not know the pod's sandbox or its network namespace.",
            "See the message for the runtime's words; check the agent's cri-socket.";
        TrafficHeld: "The pod's traffic is held on all its links, and was seen held in the kernel.",
            "It ends by itself after holdTimeoutSeconds; set traffic: Running to end it earlier.";
        SourceFenced: "The hold no longer ends by itself: the successor is live, or the pod is being deleted.",
            "Delete the source pod.";
        Released: "The pod's traffic flows again, as was asked for.",
            "";
        SourceGone: "The held pod is gone, and its hold with it.",
            "";
        HoldFailed: "A hold was asked for and is not in force; nothing was captured.",
            "See the message for the kernel's words. The pod goes on undisturbed.";
        CaptureFailed: "The pod's network could not be read.",
            "See the message for the object and the kernel's words.";
        NotCarried: "The network holds what can't be carried, and onUnsupported is Fail.",
            "See status.notCarried; remove it from the pod, or create another NetCheckpoint with onUnsupported: Report.";
        StorageNotFound: "There is no NetCheckpointStorage of that name, none is marked as default, or several are.",
            "Create it, mark exactly one with isDefault: true, or give storageName.";
        StorageUnreachable: "The store did not answer, or answered with server errors, until the retries were used up.",
            "See the message and the storage's condition; create another NetCheckpoint when it is back.";
        StorageRefused: "The store answered that it will not: no such bucket, no permission, bad credentials, no conditional puts.",
            "See the message; mend the NetCheckpointStorage, its Secret or the bucket's policy.";
        TimedOut: "It was not completed within timeoutSeconds; of Held, that holdTimeoutSeconds were over and the pod's traffic flows again.",
            "See the message for the step that it was at; create another NetCheckpoint with a longer time.";
        CheckpointFailed: "It failed for another reason.",
            "See the message.";
    }
}

impl Reason {
    /// Whether a checkpoint whose condition Ready is False for this reason has ended: it is not tried again.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(
            self,
            Self::CheckpointInProgress
                | Self::CheckpointCompleted
                | Self::NetworkCaptured
                | Self::ImageStored
                | Self::ArchiveStored
                | Self::TrafficHeld
                | Self::SourceFenced
                | Self::Released
                | Self::SourceGone
                | Self::Deleting
        )
    }
}

reasons! {
    /// Reasons of a restore: of the pod's condition `netckpt.io/NetworkRestored` and of `status.restores`.
    RestoreReason {
        RestoreInProgress: "The agent is rebuilding the network; the pod's containers wait.",
            "Wait; it ends within the CNI plugin's deadline.";
        Restored: "The network was rebuilt, read back and found equal to the image.",
            "";
        SuccessorLive: "The pod's sockets are there and it speaks; its source no longer can.",
            "";
        SourceReleased: "The held source was released, or its time was over, before this pod was live: the source goes on, and this pod stays silent.",
            "Delete this pod. Begin again with another NetCheckpoint and a longer holdTimeoutSeconds.";
        CheckpointNotFound: "There is no NetCheckpoint of the annotated name in the pod's namespace.",
            "Check the annotation netckpt.io/restore-from.";
        CheckpointNotReady: "The NetCheckpoint is not completed.",
            "Wait for it (kubectl wait --for=condition=Ready); kubelet tries again. If it failed, create another.";
        StorageNotFound: "The NetCheckpointStorage that keeps the image is gone.",
            "Create it again.";
        StorageUnreachable: "The store did not answer, or answered with server errors, until the retries were used up.",
            "See the message; kubelet tries again.";
        StorageRefused: "The store answered that it will not give the image: it is gone, or the credentials may not read it.",
            "See the message; mend the NetCheckpointStorage or its Secret.";
        ImageDamaged: "The image is not what the status tells, is cut short, or can't be read.",
            "See the message; create another NetCheckpoint.";
        ImageRefused: "The image holds what an image may not: it reaches out of the namespace or asks for what no table allows.",
            "See the message for the object; do not restore from it.";
        NotCarried: "The image names things as not carried that change how the network behaves.",
            "See the NetCheckpoint's status.notCarried; annotate the pod with netckpt.io/on-unsupported: Report to go on without them.";
        AddressInUse: "An address of the image is in use by another pod of the cluster or on the node.",
            "See the message for who has it; delete the source pod first.";
        KernelRefused: "The kernel refused a step of the plan.",
            "See the message for the object and the kernel's words; the namespace is as the CNI plugins had made it.";
        VerifyFailed: "The rebuilt network was read back and differs from the image.",
            "See the message for the objects; the namespace is as the CNI plugins had made it.";
        TimedOut: "It did not end within the CNI plugin's deadline.",
            "See the message for the step that it was at; kubelet tries again.";
        RestoreFailed: "It failed for another reason.",
            "See the message.";
    }
}

reasons! {
    /// Reasons of a `NetCheckpointStorage`'s condition Ready.
    StorageReason {
        Reachable: "The store answers, keeps what is written, and honours conditional puts.",
            "";
        Unreachable: "The store does not answer, or answers with server errors.",
            "Check the endpoint, and whether the nodes reach it.";
        Refused: "The store answers that it will not: no such bucket, no permission, bad credentials.",
            "Check the bucket, its policy and the Secret.";
        SecretNotFound: "The Secret is missing, may not be read by the agents, or lacks a key.",
            "Create it in the agents' namespace with accessKeyID and secretAccessKey.";
        ConditionalPutsIgnored: "The store overwrites an object that a conditional put must not.",
            "Nothing needs to be done: keys are made of digests, so that only equal images replace each other. A store that honours If-None-Match is better.";
    }
}
