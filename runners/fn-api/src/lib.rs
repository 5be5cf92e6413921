//! Beam's Fn API, runner side: the executor of bundles in SDK harnesses.
