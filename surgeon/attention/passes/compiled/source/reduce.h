// Mean and maximum, and where it is first.
#pragma once
#include "maps.h"

// What is found: from one image to the next are `image` numbers. `first` may be null.
template <class S>
struct Found {
  S *mean, *most;
  int32_t* first;
  Count image;
};

// Of each row, each column of it times its factor in `factors` (images, columns), if there are any.
template <class T, bool FACTORS, bool PLACES>
void reduce_columns(Shape shape, Map<const T> x, const Number<T>* factors, Found<Number<T>> found, int threads) {
  typedef Number<T> S;
  const Count groups = parts_of(shape.rows, WIDTH<S>);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count group = 0; group < groups; group++) {
      const Count begin = group * WIDTH<S>, count = least(WIDTH<S>, shape.rows - begin);
      const S* factor = FACTORS ? factors + n * shape.columns : nullptr;
      Lanes<S> sum[WIDTH<S>] = {}, peak[WIDTH<S>] = {};
      Places<S> first[WIDTH<S>] = {};
      auto rows = [&](Count a, auto beside) {
        constexpr int COUNT = decltype(beside)::value;
        const Rows<const T, COUNT> from(x, n, begin + a);
        Lanes<S> s[COUNT] = {}, m[COUNT];
        Places<S> place[COUNT];
        for (int k = 0; k < COUNT; k++) {
          Lanes<S> y = load(from[k]);
          m[k] = FACTORS ? y * load(factor) : y;
          place[k] = steps<S>();
        }
        along<S>(shape.columns, [&](Count b, auto fresh) {
          Lanes<S> each = {};
          if (FACTORS) each = load(factor + b);
          for (int k = 0; k < COUNT; k++) {
            Lanes<S> y = load(from[k] + b);
            if (FACTORS) y *= each;
            s[k] += fresh.of(y);
            auto larger = (y > m[k]) | (y != y);
            m[k] = larger ? y : m[k];
            if (PLACES) place[k] = larger ? steps<S>() + (Place<T>)b : place[k];
          }
        });
        for (int k = 0; k < COUNT; k++) {
          sum[a + k] = s[k], peak[a + k] = m[k];
          if (PLACES) first[a + k] = place[k];
        }
      };
      beside(0, count, rows);
      fold<S>([&](int i, int j, Places<S> one, Places<S> other) {
        Lanes<S> p = picked<S>(peak[i], peak[j], one), q = picked<S>(peak[i], peak[j], other);
        auto larger = (q > p) | (q != q);
        if (PLACES) {
          Places<S> at = picked<S>(first[i], first[j], one), then = picked<S>(first[i], first[j], other);
          larger |= (q == p) & (then < at);
          first[i] = larger ? then : at;
        }
        peak[i] = larger ? q : p;
      });
      Lanes<S> all = totals<S>(sum) / (S)shape.columns;
      for (Count k = 0; k < count; k++) {
        found.mean[n * found.image + begin + k] = all[k];
        found.most[n * found.image + begin + k] = peak[0][k];
        if (PLACES) found.first[n * shape.rows + begin + k] = (int32_t)first[0][k];
      }
    }
}

// Of each column, each row of it times its factor in `factors` (images, rows), if there are any.
template <class T, bool FACTORS, bool PLACES>
void reduce_rows(Shape shape, Map<const T> x, const Number<T>* factors, Found<Number<T>> found, int threads) {
  typedef Number<T> S;
  const Count tiles = tiles_of(shape, threads);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count part = 0; part < tiles; part++) {
      S sum[TILE], peak[TILE];
      int32_t first[TILE];
      const Count left = start_of(part, tiles, shape.columns), wide = start_of(part + 1, tiles, shape.columns) - left;
      along<S>(wide, [&](Count b, auto) {
        Lanes<S> y = load(x.at(n, 0) + left + b);
        store(sum + b, Lanes<S>{});
        store(peak + b, FACTORS ? y * factors[n * shape.rows] : y);
        if (PLACES) store(first + b, Places<S>{});
      });
      auto rows = [&](Count a, auto beside) {
        constexpr int COUNT = decltype(beside)::value;
        const Rows<const T, COUNT> from(x, n, a, left);
        S factor[COUNT];
        for (int k = 0; FACTORS && k < COUNT; k++) factor[k] = factors[n * shape.rows + a + k];
        along<S>(wide, [&](Count b, auto fresh) {
          Lanes<S> s = {}, m = load(peak + b);
          Places<S> place = {};
          if (PLACES) place = places(first + b, S());
          for (int k = 0; k < COUNT; k++) {
            Lanes<S> y = load(from[k] + b);
            if (FACTORS) y *= factor[k];
            s += y;
            auto larger = (y > m) | (y != y);
            m = larger ? y : m;
            if (PLACES) place = larger ? Places<S>{} + (Place<T>)(a + k) : place;
          }
          store(sum + b, load(sum + b) + fresh.of(s));
          store(peak + b, m);
          if (PLACES) store(first + b, place);
        });
      };
      beside(0, shape.rows, rows);
      for (Count b = 0; b < wide; b++) {
        found.mean[n * found.image + left + b] = sum[b] / shape.rows;
        found.most[n * found.image + left + b] = peak[b];
        if (PLACES) found.first[n * shape.columns + left + b] = first[b];
      }
    }
}
