// The primitive of fused/sweep.py on a CPU: log q of every block for a chunk of rows, and its gradient in the same sweep.
//
// A row meets the components a tile of columns at a time. The first pass leaves exp(L - the tile's maximum) of every
// slot in memory, with the maximum and the sum of each tile; the second turns these into gradients without another
// exponential. Columns are padded to whole vectors: there 1/std = 0 and every base is -inf, so that they weigh nothing.
// Vectors are those of GCC and Clang, at the width that the machine has. Built and called by native.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif

template <class T> struct Lanes;
template <> struct Lanes<float> {
  typedef float V __attribute__((vector_size(kBytes)));
  typedef int32_t I __attribute__((vector_size(kBytes)));
  static constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  static constexpr int32_t kMagicBits = 0x4B400000, kBias = 127, kShift = 23;
  static constexpr float kLow = -87.3f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  static constexpr float kTaylor[] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, .5f, 1.f, 1.f};
};
template <> struct Lanes<double> {
  typedef double V __attribute__((vector_size(kBytes)));
  typedef int64_t I __attribute__((vector_size(kBytes)));
  static constexpr double kMagic = 6755399441055744.0;
  static constexpr int64_t kMagicBits = 0x4338000000000000, kBias = 1023, kShift = 52;
  static constexpr double kLow = -708.3, kLn2High = 6.93145751953125e-1, kLn2Low = 1.42860682030941723212e-6;
  static constexpr double kTaylor[] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880,
                                       1. / 40320, 1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, .5, 1., 1.};
};

template <class T> using Vec = typename Lanes<T>::V;
template <class T> constexpr int kLanes = kBytes / sizeof(T);
constexpr int kTile = 256;      // columns; a multiple of every number of lanes
constexpr int64_t kPanel = 64;  // rows whose gradients are added up before they join the sum: keeps float32 accurate

template <class T> inline Vec<T> load(const T* p) { Vec<T> v; std::memcpy(&v, p, kBytes); return v; }
template <class T> inline void store(T* p, Vec<T> v) { std::memcpy(p, &v, kBytes); }
template <class T> inline Vec<T> larger(Vec<T> a, Vec<T> b) { return a > b ? a : b; }
template <class T, class F> inline T fold(Vec<T> v, F both) {
#if defined(__clang__)
  Vec<T> all = v;
  for (int i = 1; i < kLanes<T>; i++) all = both(all, Vec<T>{} + v[i]);
  return all[0];
#else
  typename Lanes<T>::I at;
  for (int i = 0; i < kLanes<T>; i++) at[i] = i;
  for (int half = kLanes<T> / 2; half; half /= 2) v = both(v, __builtin_shuffle(v, at ^ half));
  return v[0];
#endif
}
template <class T> inline T sum(Vec<T> v) { return fold<T>(v, [](Vec<T> a, Vec<T> b) { return a + b; }); }
template <class T> inline T most(Vec<T> v) { return fold<T>(v, larger<T>); }

// exp(x) for x <= 0, to an ulp or two: exactly 0 where it would underflow, NaN for NaN.
template <class T> inline Vec<T> exp_of_negative(Vec<T> x) {
  using L = Lanes<T>;
  const Vec<T> zero = {}, low = zero + L::kLow;
  const auto vanishes = x < low;
  x = vanishes ? low : x;
  const Vec<T> shifted = x * T(1.4426950408889634) + L::kMagic, n = shifted - L::kMagic;
  const Vec<T> r = (x - n * L::kLn2High) - n * L::kLn2Low;
  Vec<T> p = zero + L::kTaylor[0];
  for (int i = 1; i < int(sizeof(L::kTaylor) / sizeof(T)); i++) p = p * r + L::kTaylor[i];
  typename L::I bits;
  std::memcpy(&bits, &shifted, kBytes);
  bits = (bits - L::kMagicBits + L::kBias) << L::kShift;
  Vec<T> scale;
  std::memcpy(&scale, &bits, kBytes);
  return vanishes ? zero : p * scale;
}

// Numbers of slots by unit or by slot: those of k are list[start[k]] to list[start[k + 1] - 1].
struct Lists {
  const int32_t *start, *list;
  const int32_t* begin(int k) const { return list + start[k]; }
  const int32_t* end(int k) const { return list + start[k + 1]; }
};

// Where log-densities are added up, as fused.Plan says. Slots before `singles` hold one unit each.
struct Plan {
  int32_t units, slots, singles, bases;
  const int32_t *block, *base, *order;  // of each slot; sums, small ones first
  const int32_t* last;                  // whether a unit ends a run of a few that go to the same sums
  Lists own, above, parts, parents;     // by unit: single slots, sums; by slot: smaller sums in it, larger sums with it
};

template <class T> struct Chunk {
  int64_t rows, components, width;           // width: components, padded to whole vectors
  const T *z, *mean, *precision, *constant;  // (rows, units), then (units, width) each
  const uint8_t* keep;                       // (rows, units), or null
  const T* const* bases;                     // (rows, components) each, rows `stride` apart
  const int64_t* stride;
  int64_t gradient;  // 0 for values only
  const T* coef;     // (blocks, rows)
  T *log_q, *dz;  // (blocks, rows), (rows, units)
  T *linear, *square;  // (units, width): sums over rows of K t and of K (t² - 1), added to
  T* const* dbases;    // (rows, components) each, or null
};

template <class T> class Worker {
  using V = Vec<T>;
  static constexpr int kStep = kLanes<T>;
  static constexpr T kLowest = std::numeric_limits<T>::lowest();
  const Plan& plan;
  const Chunk<T>& c;
  const int64_t tiles;
  std::vector<T> e;                // (tiles, slots, kTile), one tile's in turn if there is no gradient to make
  const int padded_slots;
  std::vector<T> top, total;       // (tiles, padded slots)
  std::vector<T> best_of, sum_of;  // (padded slots): over all tiles
  std::vector<T> padded;           // (bases, kTile): bases of the last tile
  std::vector<const T*> bases;     // the row's, at the tile
  std::vector<T> factor, linear, square;

 public:
  Worker(const Plan& plan, const Chunk<T>& c)
      : plan(plan), c(c), tiles((c.width + kTile - 1) / kTile), e((c.gradient ? tiles : 1) * plan.slots * kTile), padded_slots((plan.slots + kStep - 1) / kStep * kStep), top(tiles * padded_slots),
        total(tiles * padded_slots), best_of(padded_slots), sum_of(padded_slots), padded(plan.bases * kTile), bases(plan.bases),
        factor(padded_slots) {
    if (c.gradient) linear.resize(plan.units * c.width), square.resize(plan.units * c.width);
  }

  void values(int64_t i) {
    for (int64_t tile = 0; tile < tiles; tile++) first_pass(i, tile);
    for (int s = 0; s < padded_slots; s += kStep) {
      V best = load(&top[s]), all = {};
      for (int64_t t = 1; t < tiles; t++) best = larger<T>(load(&top[t * padded_slots + s]), best);
      for (int64_t t = 0; t < tiles; t++)
        all += load(&total[t * padded_slots + s]) * exp_of_negative<T>(load(&top[t * padded_slots + s]) - best);
      store(&best_of[s], best), store(&sum_of[s], all);
      for (int k = s; k < s + kStep && k < plan.slots; k++)
        c.log_q[plan.block[k] * c.rows + i] = best[k - s] + std::log(T(all[k - s]));
    }
  }

  void gradient(int64_t i) {
    for (int d = 0; d < plan.units; d++) c.dz[i * plan.units + d] = 0;
    for (int64_t tile = 0; tile < tiles; tile++) second_pass(i, tile);
  }

  // Adds what rows so far have given to the sums that all rows share.
  void flush() {
    for (size_t k = 0; k < linear.size(); k++) c.linear[k] += linear[k], c.square[k] += square[k];
    std::fill(linear.begin(), linear.end(), T(0)), std::fill(square.begin(), square.end(), T(0));
  }

 private:
  int size(int64_t tile) const { return int(std::min<int64_t>(kTile, c.width - tile * kTile)); }
  T* slot(int64_t tile, int s) { return &e[((c.gradient ? tile : 0) * plan.slots + s) * kTile]; }
  bool hidden(int64_t i, int d) const { return c.keep && !c.keep[i * plan.units + d]; }

  const T* base(int64_t i, int64_t tile, int k) {
    const T* row = c.bases[k] + i * c.stride[k] + tile * kTile;
    const int64_t n = size(tile), left = c.components - tile * kTile;
    if (left >= n) return row;
    T* copy = &padded[k * kTile];
    std::copy(row, row + left, copy), std::fill(copy + left, copy + n, -std::numeric_limits<T>::infinity());
    return copy;
  }

  void first_pass(int64_t i, int64_t tile) {
    const int n = size(tile);
    for (int s = plan.singles; s < plan.slots; s++) std::memset(slot(tile, s), 0, n * sizeof(T));
    for (int k = 0; k < plan.bases; k++) bases[k] = base(i, tile, k);
    alignas(64) T each[kTile], some[kTile];  // a unit; the run of units that it is in, added up first: rounding is less
    bool first = true;
    for (int d = 0; d < plan.units; d++) {
      const int64_t at = d * c.width + tile * kTile;
      const T z = c.z[i * plan.units + d];
      if (hidden(i, d)) {
        std::memset(each, 0, sizeof each);
      } else {
        for (int j = 0; j < n; j += kStep) {
          const V t = (z - load(c.mean + at + j)) * load(c.precision + at + j);
          store(each + j, load(c.constant + at + j) - T(0.5) * t * t);
        }
      }
      for (auto s = plan.own.begin(d); s != plan.own.end(d); s++) exponentials(tile, *s, each, bases[plan.base[*s]]);
      first ? (void)std::memcpy(some, each, n * sizeof(T)) : add(some, each, n);
      first = plan.last[d];
      if (first)
        for (auto s = plan.above.begin(d); s != plan.above.end(d); s++) add(slot(tile, *s), some, n);
    }
    for (int k = 0; k < plan.slots - plan.singles; k++) {
      const int s = plan.order[k];
      auto p = plan.parts.begin(s);
      if ((plan.parts.end(s) - p) % 2) add(slot(tile, s), slot(tile, *p++), n);
      for (; p != plan.parts.end(s); p += 2)
        for (int j = 0; j < n; j += kStep)
          store(slot(tile, s) + j, load(slot(tile, s) + j) + (load(slot(tile, p[0]) + j) + load(slot(tile, p[1]) + j)));
    }
    for (int s = plan.singles; s < plan.slots; s++) exponentials(tile, s, slot(tile, s), bases[plan.base[s]]);
  }

  static void add(T* to, const T* what, int n) {
    for (int j = 0; j < n; j += kStep) store(to + j, load(to + j) + load(what + j));
  }

  // slot = exp(density + base - top), and the sum of that
  void exponentials(int64_t tile, int s, const T* density, const T* base) {
    T* to = slot(tile, s);
    const int n = size(tile);
    V best = V{} + kLowest, all = {};
    for (int j = 0; j < n; j += kStep) {
      const V l = load(density + j) + load(base + j);
      store(to + j, l);
      best = larger<T>(l, best);
    }
    const T m = most<T>(best);
    for (int j = 0; j < n; j += kStep) {
      const V p = exp_of_negative<T>(load(to + j) - m);
      store(to + j, p);
      all += p;
    }
    top[tile * padded_slots + s] = m;
    total[tile * padded_slots + s] = sum<T>(all);
  }

  void second_pass(int64_t i, int64_t tile) {
    const int n = size(tile);
    for (int s = 0; s < padded_slots; s += kStep) {
      const V sum = load(&sum_of[s]);  // not by log q, whose rounding, a part of its size, would come back in exp
      const V share = exp_of_negative<T>(load(&top[tile * padded_slots + s]) - load(&best_of[s])) / sum;
      store(&factor[s], sum == T(0) ? V{} : share);  // a row of which no component has any weight
    }
    for (int s = 0; s < plan.slots; s++) {
      factor[s] *= c.coef[plan.block[s] * c.rows + i];
      if (c.dbases[plan.base[s]]) to_base(i, tile, s);
    }
    for (int k = plan.slots - plan.singles - 1; k >= 0; k--) {
      const int s = plan.order[k];
      T* g = slot(tile, s);
      for (int j = 0; j < n; j += kStep) store(g + j, load(g + j) * factor[s]);
      for (auto p = plan.parents.begin(s); p != plan.parents.end(s); p++) add(g, slot(tile, *p), n);
    }
    alignas(64) T sums[kTile];
    for (int d = 0; d < plan.units; d++) {
      if (hidden(i, d)) continue;
      auto own = plan.own.begin(d);
      auto above = plan.above.begin(d);
      const T* first = own != plan.own.end(d) ? slot(tile, *own) : nullptr;
      const T f = first ? factor[*own++] : T(0);
      const T* k = above != plan.above.end(d) ? slot(tile, *above++) : nullptr;
      if (own != plan.own.end(d) || above != plan.above.end(d)) {  // in more than one sum, or single more than once
        k ? (void)std::memcpy(sums, k, sizeof sums) : (void)std::memset(sums, 0, sizeof sums);
        for (; above != plan.above.end(d); above++) add(sums, slot(tile, *above), n);
        for (; own != plan.own.end(d); own++)
          for (int j = 0; j < n; j += kStep) store(sums + j, load(sums + j) + factor[*own] * load(slot(tile, *own) + j));
        k = sums;
      }
      if (first && k) unit(i, tile, d, [=](int j) { return f * load(first + j) + load(k + j); });
      else if (first) unit(i, tile, d, [=](int j) { return f * load(first + j); });
      else if (k) unit(i, tile, d, [=](int j) { return load(k + j); });
    }
  }

  // The gradients of one unit, given that in its log-density of each pair.
  template <class F> void unit(int64_t i, int64_t tile, int d, F gradient) {
    const int64_t at = d * c.width + tile * kTile;
    const T z = c.z[i * plan.units + d];
    const int n = size(tile);
    V slope = {};
    for (int j = 0; j < n; j += kStep) {
      const V k = gradient(j), precision = load(c.precision + at + j);
      const V t = (z - load(c.mean + at + j)) * precision, kt = k * t;
      slope += kt * precision;
      store(&linear[at + j], load(&linear[at + j]) + kt);
      store(&square[at + j], load(&square[at + j]) + (kt * t - k));
    }
    c.dz[i * plan.units + d] -= sum<T>(slope);
  }

  void to_base(int64_t i, int64_t tile, int s) {
    T* to = c.dbases[plan.base[s]] + i * c.components + tile * kTile;
    const T* from = slot(tile, s);
    const int64_t n = std::min<int64_t>(kTile, c.components - tile * kTile);
    for (int64_t j = 0; j < n; j++) to[j] += factor[s] * from[j];
  }

};

template <class T> void rows(const Plan& plan, const Chunk<T>& c, int64_t from, int64_t to) {
  Worker<T> worker(plan, c);
  for (int64_t i = from; i < to; i++) {
    worker.values(i);
    if (!c.gradient) continue;
    worker.gradient(i);
    if ((i - from) % kPanel == kPanel - 1 || i == to - 1) worker.flush();
  }
}

// Threads take equal parts of the rows, each with sums of its own, added in order: the same bits every time.
template <class T> void sweep(const Plan& plan, const Chunk<T>& c, int threads) {
  const int64_t pairs = c.rows * c.width * plan.slots;  // a thread takes longer to start than for 1e5 of them
  threads = int(std::min<int64_t>({threads, c.rows, 1 + (pairs >> 17)}));
  std::vector<std::vector<T>> sums(threads);
  std::vector<std::thread> team;
  auto part = [&](int k) {
    Chunk<T> mine = c;
    if (k && c.gradient) {
      sums[k].resize(2 * plan.units * c.width);
      mine.linear = sums[k].data(), mine.square = mine.linear + plan.units * c.width;
    }
    rows(plan, mine, c.rows * k / threads, c.rows * (k + 1) / threads);
  };
  for (int k = 1; k < threads; k++) {
    try {
      team.emplace_back(part, k);
    } catch (const std::system_error&) {  // no more threads to be had
      part(k);
    }
  }
  part(0);
  for (auto& thread : team) thread.join();
  for (int k = 1; k < threads && c.gradient; k++)
    for (int64_t j = 0; j < plan.units * c.width; j++)
      c.linear[j] += sums[k][j], c.square[j] += sums[k][plan.units * c.width + j];
}

extern "C" {
int unweave_bytes() { return kBytes; }
void unweave_float(const Plan* plan, const Chunk<float>* chunk, int threads) { sweep(*plan, *chunk, threads); }
void unweave_double(const Plan* plan, const Chunk<double>* chunk, int threads) { sweep(*plan, *chunk, threads); }
}
