//! The models that come with Driftless. They stand apart from [`crate::model`], which knows no
//! model.

use crate::model::Models;
use crate::{grid, map};

impl Models {
    /// `grid` and `map`.
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
