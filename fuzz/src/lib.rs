//! What the fuzz targets share. The targets themselves are in `targets`, their seeds in `seeds`.

pub mod lines;
