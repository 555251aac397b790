//! What to do with state that can't be carried: a choice of the user, the same words for a capture and
//! a restore, on the command line and in Kubernetes.

use std::fmt;

use super::NotCarried;

/// Things named in one message.
const NAMED: usize = 4;

/// What to do with state that can't be carried, or that this kernel does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Unsupported {
    /// Fail where the network would behave differently without it.
    #[default]
    Fail,
    /// Say so and go on.
    Report,
}

impl Unsupported {
    /// Whether work with an image that lacks these may go on.
    ///
    /// # Errors
    /// [`Lost`], which names those that matter.
    pub fn judge(self, lost: &[NotCarried]) -> Result<(), Lost> {
        let matter = lost.iter().filter(|lost| lost.matters);
        match self {
            Self::Report => Ok(()),
            Self::Fail => match matter.cloned().collect::<Vec<_>>() {
                matter if matter.is_empty() => Ok(()),
                matter => Err(Lost(matter)),
            },
        }
    }
}

/// What is not carried and matters: the network behaves differently without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Lost(pub Vec<NotCarried>);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<_> = self.0.iter().take(NAMED).map(ToString::to_string).collect();
        write!(f, "not carried: {}", first.join("; "))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl fmt::Display for NotCarried {
    /// On one line: class, object, reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.object.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}: {}", self.class, self.object, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_stops_and_only_where_it_shall() {
        let lost = |object: &str, matters| NotCarried {
            class: "links".to_owned(),
            object: object.to_owned(),
            why: "its kind".to_owned(),
            matters,
        };
        let informs = [lost("cache", false)];
        let both = [lost("cache", false), lost("wg0", true)];
        assert_eq!(Unsupported::Fail.judge(&[]), Ok(()));
        assert_eq!(Unsupported::Fail.judge(&informs), Ok(()));
        assert_eq!(Unsupported::Report.judge(&both), Ok(()));
        let refused = Unsupported::Fail.judge(&both).unwrap_err();
        assert_eq!(refused.to_string(), "not carried: links wg0: its kind");
        let many: Vec<_> = (0..6).map(|at| lost(&at.to_string(), true)).collect();
        let refused = Unsupported::Fail.judge(&many).unwrap_err();
        assert!(refused.to_string().ends_with("; and 2 more"), "{refused}");
    }
}
