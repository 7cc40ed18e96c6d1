// What factors get from the gradient of a product: sums over the rows of a map, and over its columns.
#pragma once
#include "maps.h"

// Of `g * x`: for each row the sum of its columns, each times its factor (images, columns); for each column the sum of
// the rows, each times its factor (images, rows), in a part for each chunk of rows: (images, chunks, columns).
template <class T, bool ROWS, bool COLUMNS>
void sums(Shape shape, Map<const T> g, Map<const T> x, const Number<T>* row_factors, const Number<T>* column_factors,
          Number<T>* of_rows, Number<T>* of_columns, int threads) {
  typedef Number<T> S;
  const Count chunks = chunks_of(shape), tiles = parts_of(shape.columns, TILE);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count chunk = 0; chunk < chunks; chunk++) {
      const Count begin = start_of(chunk, chunks, shape.rows), end = start_of(chunk + 1, chunks, shape.rows);
      for (Count part = 0; part < tiles; part++) {
        const Count left = start_of(part, tiles, shape.columns), wide = start_of(part + 1, tiles, shape.columns) - left;
        const S* factors = ROWS ? column_factors + n * shape.columns + left : nullptr;
        S* sum = COLUMNS ? of_columns + (n * chunks + chunk) * shape.columns + left : nullptr;
        if (COLUMNS) memset(sum, 0, wide * sizeof(S));
        for (Count group = begin; group < end; group += WIDTH<S>) {
          const Count last = least(end, group + WIDTH<S>);
          Lanes<S> own[WIDTH<S>] = {};
          beside(group, last, [&](Count a, auto beside) {
            constexpr int COUNT = decltype(beside)::value;
            Lanes<S> mine[COUNT] = {};
            const Rows<const T, COUNT> from(g, n, a, left), other(x, n, a, left);
            S factor_of[COUNT];
            for (int k = 0; COLUMNS && k < COUNT; k++) factor_of[k] = row_factors[n * shape.rows + a + k];
            along<S>(wide, [&](Count b, auto fresh) {
              Lanes<S> all = {}, factor = {};
              if (ROWS) factor = fresh.of(load(factors + b));
              for (int k = 0; k < COUNT; k++) {
                Lanes<S> both = load(from[k] + b) * load(other[k] + b);
                if (ROWS) mine[k] += both * factor;
                if (COLUMNS) all += both * factor_of[k];
              }
              if (COLUMNS) store(sum + b, load(sum + b) + fresh.of(all));
            });
            for (int k = 0; ROWS && k < COUNT; k++) own[a - group + k] = mine[k];
          });
          if (!ROWS) continue;
          const Lanes<S> all = totals<S>(own);
          S* to = of_rows + n * shape.rows;
          for (Count a = group; a < last; a++) to[a] = (part ? to[a] : S(0)) + all[a - group];
        }
      }
    }
  if (COLUMNS) join(shape, of_columns);
}

// For each row, which is a channel, the sum of what mean and maximum over the channels have of it: of each position its
// number times the gradient of the mean, and times that of the maximum where this was first.
template <class T>
void weighted_channels(Shape shape, Map<const T> x, By<Number<T>> positions, Number<T>* of_rows, int threads) {
  typedef Number<T> S;
  const S share = S(1) / shape.rows;
  const Count groups = parts_of(shape.rows, WIDTH<S>);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count group = 0; group < groups; group++) {
      const Count begin = group * WIDTH<S>, end = least(shape.rows, begin + WIDTH<S>);
      const Count row = n * shape.columns, pairs = n * positions.image;
      Lanes<S> own[WIDTH<S>] = {};
      beside(begin, end, [&](Count a, auto beside) {
        constexpr int COUNT = decltype(beside)::value;
        const Rows<const T, COUNT> from(x, n, a);
        Lanes<S> mine[COUNT] = {};
        along<S>(shape.columns, [&](Count b, auto fresh) {
          const Lanes<S> each = fresh.of(load(positions.mean + pairs + b) * share);
          const Lanes<S> one = each + fresh.of(load(positions.peak + pairs + b));
          const Places<S> first = places(positions.place + row + b, S());
          for (int k = 0; k < COUNT; k++)
            mine[k] += load(from[k] + b) * (first == (Place<T>)(a + k) ? one : each);
        });
        for (int k = 0; k < COUNT; k++) own[a - begin + k] = mine[k];
      });
      const Lanes<S> all = totals<S>(own);
      for (Count a = begin; a < end; a++) of_rows[n * shape.rows + a] = all[a - begin];
    }
}

// The same where each row is a position, in a part for each chunk of them: (images, chunks, columns).
template <class T>
void weighted_positions(Shape shape, Map<const T> x, By<Number<T>> positions, Number<T>* of_columns, int threads) {
  typedef Number<T> S;
  const Count chunks = chunks_of(shape);
  const S share = S(1) / shape.columns;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count chunk = 0; chunk < chunks; chunk++) {
      const Count begin = start_of(chunk, chunks, shape.rows), end = start_of(chunk + 1, chunks, shape.rows);
      S* sum = of_columns + (n * chunks + chunk) * shape.columns;
      memset(sum, 0, shape.columns * sizeof(S));
      beside(begin, end, [&](Count a, auto beside) {
        constexpr int COUNT = decltype(beside)::value;
        const Rows<const T, COUNT> from(x, n, a);
        const Count here = n * shape.rows + a, pair = n * positions.image + a;
        S weight[COUNT];
        for (int k = 0; k < COUNT; k++) weight[k] = positions.mean[pair + k] * share;
        along<S>(shape.columns, [&](Count b, auto fresh) {
          Lanes<S> all = {};
          for (int k = 0; k < COUNT; k++) all += load(from[k] + b) * weight[k];
          store(sum + b, load(sum + b) + fresh.of(all));
        });
        for (int k = 0; k < COUNT; k++) {
          const Count channel = positions.place[here + k];
          sum[channel] += number(from[k][channel]) * positions.peak[pair + k];
        }
      });
    }
  join(shape, of_columns);
}
