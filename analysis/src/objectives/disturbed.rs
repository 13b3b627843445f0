//! What a machine that was not quiet leaves of an answer.

use alpha_flops::record::Quiet;

use super::{ClaimVerdict, ObjectiveAnswer, Objectives};
use crate::dataset::Provenance;

impl Objectives {
    /// The same answers if the run was [quiet enough](Quiet::is_enough), or if nothing is known of that; else
    /// open ones: latencies that were disturbed can show what is not so, and hide what is. The numbers stay.
    pub fn unless_disturbed(mut self, quiet: Option<&Quiet>, measured: &Provenance) -> Self {
        if let Some(quiet) = quiet.filter(|quiet| !quiet.is_enough()) {
            self.ro1.leave_open(quiet, measured);
            self.ro2.leave_open(quiet, measured);
            self.ro3.leave_open(quiet, measured);
        }
        self
    }
}

impl<T> ObjectiveAnswer<T> {
    fn leave_open(&mut self, quiet: &Quiet, measured: &Provenance) {
        if self.verdict == ClaimVerdict::CannotBeAnswered {
            return;
        }
        self.verdict = ClaimVerdict::NotShown;
        self.undone_by_percent = None;
        self.sentence = format!(
            "{} on {}: the machine was not quiet enough while this was measured ({}); stop what else runs \
             on it, and measure again.",
            self.verdict,
            measured.place(),
            quiet.in_words()
        );
    }
}
