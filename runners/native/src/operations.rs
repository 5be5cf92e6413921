//! Chains of typed operations that compile to one loop.
//!
//! ```
//! use purlin_native::operations;
//! let chain = operations::start::<i64>().map(|value| value * 2).filter(|value| *value > 2);
//! let mut out = Vec::new();
//! chain.apply(&[1, 2, 3], &mut out);
//! assert_eq!(out, [4, 6]);
//! ```
//! Each operation hands its values to the next one by a call that the compiler inlines: nothing is stored between
//! two operations of a chain.

use std::fmt;
use std::marker::PhantomData;

/// From one value to none, one or several.
pub trait Operation<I, O>: Send + Sync {
    /// Calls `emit` with each value that comes of `value`.
    fn each(&self, value: I, emit: &mut impl FnMut(O));
}

/// A chain of operations from `I` to `O`.
#[derive(Clone, Copy)]
pub struct Chain<I, O, P> {
    operation: P,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O, P> fmt::Debug for Chain<I, O, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain")
    }
}

/// A chain that does nothing yet.
pub fn start<T>() -> Chain<T, T, Start> {
    chain(Start)
}

fn chain<I, O, P: Operation<I, O>>(operation: P) -> Chain<I, O, P> {
    Chain { operation, types: PhantomData }
}

impl<I: Clone, O, P: Operation<I, O>> Chain<I, O, P> {
    /// Then turn each value into another.
    pub fn map<T, F: Fn(O) -> T + Send + Sync>(self, function: F) -> Chain<I, T, Map<P, F, O>> {
        chain(Map { before: self.operation, function, types: PhantomData })
    }

    /// Then keep the values for which this holds.
    pub fn filter<F: Fn(&O) -> bool + Send + Sync>(self, keep: F) -> Chain<I, O, Filter<P, F>> {
        chain(Filter { before: self.operation, keep })
    }

    /// Then turn each value into several.
    pub fn flat_map<T, V, F>(self, function: F) -> Chain<I, T, FlatMap<P, F, O>>
    where
        V: IntoIterator<Item = T>,
        F: Fn(O) -> V + Send + Sync,
    {
        chain(FlatMap { before: self.operation, function, types: PhantomData })
    }

    /// Runs the chain over a slice.
    #[inline]
    pub fn apply(&self, values: &[I], out: &mut Vec<O>) {
        for value in values {
            self.operation.each(value.clone(), &mut |value| out.push(value));
        }
    }
}

/// See [`start`].
#[derive(Clone, Copy, Debug)]
pub struct Start;

impl<T> Operation<T, T> for Start {
    #[inline]
    fn each(&self, value: T, emit: &mut impl FnMut(T)) {
        emit(value);
    }
}

/// See [`Chain::map`].
#[derive(Clone, Copy, Debug)]
pub struct Map<P, F, M> {
    before: P,
    function: F,
    types: PhantomData<fn() -> M>,
}

impl<I, M, O, P: Operation<I, M>, F: Fn(M) -> O + Send + Sync> Operation<I, O> for Map<P, F, M> {
    #[inline]
    fn each(&self, value: I, emit: &mut impl FnMut(O)) {
        self.before.each(value, &mut |value| emit((self.function)(value)));
    }
}

/// See [`Chain::filter`].
#[derive(Clone, Copy, Debug)]
pub struct Filter<P, F> {
    before: P,
    keep: F,
}

impl<I, O, P: Operation<I, O>, F: Fn(&O) -> bool + Send + Sync> Operation<I, O> for Filter<P, F> {
    #[inline]
    fn each(&self, value: I, emit: &mut impl FnMut(O)) {
        self.before.each(value, &mut |value| {
            if (self.keep)(&value) {
                emit(value);
            }
        });
    }
}

/// See [`Chain::flat_map`].
#[derive(Clone, Copy, Debug)]
pub struct FlatMap<P, F, M> {
    before: P,
    function: F,
    types: PhantomData<fn() -> M>,
}

impl<I, M, O, V, P, F> Operation<I, O> for FlatMap<P, F, M>
where
    V: IntoIterator<Item = O>,
    P: Operation<I, M>,
    F: Fn(M) -> V + Send + Sync,
{
    #[inline]
    fn each(&self, value: I, emit: &mut impl FnMut(O)) {
        self.before.each(value, &mut |value| (self.function)(value).into_iter().for_each(&mut *emit));
    }
}
