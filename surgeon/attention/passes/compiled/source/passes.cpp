// The passes over maps of numbers of KIND; what each computes is in formulas.py. What may be missing is null.
#include "blend.h"
#include "reduce.h"
#include "spread.h"
#include "sums.h"

typedef KIND T;
typedef Number<T> S;
typedef Map<const T> Given;

extern "C" {
Count chunks(Shape shape) { return chunks_of(shape); }

void reduce_columns(Shape shape, Given x, const S* factors, Found<S> found, int threads) {
  (found.first ? factors ? reduce_columns<T, true, true> : reduce_columns<T, false, true>
   : factors   ? reduce_columns<T, true, false>
               : reduce_columns<T, false, false>)(shape, x, factors, found, threads);
}

void reduce_rows(Shape shape, Given x, const S* factors, Found<S> found, int threads) {
  (found.first ? factors ? reduce_rows<T, true, true> : reduce_rows<T, false, true>
   : factors   ? reduce_rows<T, true, false>
               : reduce_rows<T, false, false>)(shape, x, factors, found, threads);
}

void product(Shape shape, Given x, const S* of_rows, const S* of_columns, int rows_first, Map<T> y, int threads) {
  (of_rows ? of_columns ? product<T, true, true> : product<T, true, false>
           : product<T, false, true>)(shape, x, of_rows, of_columns, rows_first, y, threads);
}

void sums(Shape shape, Given g, Given x, const S* row_factors, const S* column_factors, S* of_rows, S* of_columns,
          int threads) {
  (of_rows ? of_columns ? sums<T, true, true> : sums<T, true, false>
           : sums<T, false, true>)(shape, g, x, row_factors, column_factors, of_rows, of_columns, threads);
}

void weighted_channels(Shape shape, Given x, By<S> positions, S* sum, int threads) {
  weighted_channels<T>(shape, x, positions, sum, threads);
}

void weighted_positions(Shape shape, Given x, By<S> positions, S* sum, int threads) {
  weighted_positions<T>(shape, x, positions, sum, threads);
}

void spread_channels(Shape shape, Given g, By<S> channels, By<S> positions, int inside, Map<T> y, int threads) {
  (positions.factor ? channels.peak ? spread_channels<T, true, true> : spread_channels<T, true, false>
   : channels.peak  ? spread_channels<T, false, true>
                    : spread_channels<T, false, false>)(shape, g, channels, positions, inside, y, threads);
}

void spread_positions(Shape shape, Given g, By<S> channels, By<S> positions, int inside, Map<T> y, int threads) {
  (positions.factor ? channels.peak ? spread_positions<T, true, true> : spread_positions<T, true, false>
   : channels.peak  ? spread_positions<T, false, true>
                    : spread_positions<T, false, false>)(shape, g, channels, positions, inside, y, threads);
}

void blend(Shape shape, Given x, const S* rows, const S* columns, const S* offset, const S* factor, int how, Map<T> y,
           int threads) {
  (how == SUM       ? blend<T, SUM>
   : how == PRODUCT ? blend<T, PRODUCT>
                    : blend<T, MAX>)(shape, x, rows, columns, offset, factor, y, threads);
}

void blend_sums(Shape shape, Given g, Given x, const S* rows, const S* columns, const S* factor, int how, S* of_rows,
                S* of_columns, S* acts, int threads) {
  (how == SUM       ? blend_sums<T, SUM>
   : how == PRODUCT ? blend_sums<T, PRODUCT>
                    : blend_sums<T, MAX>)(shape, g, x, rows, columns, factor, of_rows, of_columns, acts, threads);
}
}
