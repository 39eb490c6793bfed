//! The list of the models that come with Driftless. It is separate from [`crate::model`], because
//! that module must not depend on any particular model.

use crate::model::Models;
use crate::{grid, map};

impl Models {
    /// The models that come with Driftless: `grid` and `map`.
    #[must_use]
    pub fn builtin() -> Self {
        let mut models = Self::none();
        models.register(grid::ID, grid::REVISION, grid::Grid::from_parameters);
        models.register(map::ID, map::REVISION, map::Map::from_parameters);
        models
    }
}

impl Default for Models {
    fn default() -> Self {
        Self::builtin()
    }
}
