//! Masks that wait for the reader's word: of a region that grows, of the smart tool, of a command.

use bifocal_core::annotation::{Edit, Session};
use bifocal_core::segment::LocalFeatures;

use super::Drawing;
use crate::proposal::{Proposal, TOLERANCE};

impl Drawing {
    /// Puts masks before the reader, in place of others.
    pub fn offer(&mut self, proposal: Proposal) {
        (self.growth, self.clicks) = (None, None);
        self.proposal = Some(proposal);
    }

    /// Puts the mask of the strokes before the reader.
    pub fn offer_clicks(&mut self, features: &LocalFeatures) {
        if let Some(clicks) = &mut self.clicks {
            self.proposal = Some(clicks.proposal(features, self.tolerance));
        }
    }

    /// Drops what is on offer; false where nothing is.
    pub(super) fn drop_offer(&mut self) -> bool {
        let any = self.proposal.is_some() || self.growth.is_some() || self.clicks.is_some();
        (self.proposal, self.growth, self.clicks) = (None, None, None);
        any
    }

    /// The edit that takes what is on offer.
    pub fn take_offer(&mut self, session: &Session) -> Option<Edit> {
        (self.growth, self.clicks) = (None, None);
        self.proposal.take()?.accepted(session)
    }

    /// Sets how far regions grow, and grows again what is on offer.
    pub fn set_tolerance(&mut self, tolerance: f64) {
        self.tolerance = tolerance.clamp(TOLERANCE.0, TOLERANCE.1);
        self.grow();
    }

    pub(super) fn grow(&mut self) {
        if let Some(growth) = &self.growth {
            self.proposal = Some(growth.proposal(self.tolerance));
        }
        if let Some(clicks) = &mut self.clicks {
            clicks.again();
        }
    }
}
