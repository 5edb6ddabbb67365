// The plan of a synthetic facade: a style, a grid of floors and bays, and for each floor what its windows carry.
// See scene.h; next: paint.cpp.
#include <algorithm>
#include <array>

#include "train/synth/scene.h"

namespace asap::train::synth {
namespace {

Color pick(HashRandom& random, std::initializer_list<uint32_t> colors) {
  const Color c = rgb(colors.begin()[random.below(int64_t(colors.size()))]);
  const float gain = float(random.uniform(0.85, 1.12)), warm = float(random.uniform(0.95, 1.05));
  return {c.r * gain * warm, c.g * gain, c.b * gain / warm};
}

// What one floor repeats at every bay.
struct Floor {
  double top = 0, bottom = 0;                                    // units
  double window_width = 0.5, window_height = 0.6, lintel = 0.2;  // shares of bay and floor; lintel: gap above the window
  int panes = 0;
  bool arched = false, sill = true, shutters = false;
  int cornice = -1;                  // -1 none, 0 flat, 1 triangle, 2 segment, 3 the last two in turn
  int balcony = -1, balcony_at = 0;  // kind of railing; 0 every bay, 1 every second, 2 the middle, 3 all along
  int deco = -1, deco_kind = 0;      // -1 none, 0 under the windows, 1 between them, 2 over them
  double blinds = 0;                 // share of windows with a blind
};

// One statement draws at most one random number wherever C++ leaves the order of evaluation open.
class Planner {
 public:
  Planner(int size, uint64_t seed, int64_t index, bool same_style)
      : random_({seed, same_style ? 0 : uint64_t(index), kPurpose}),
        of_this_house_(same_style ? HashRandom({seed, uint64_t(index), kPurpose}) : random_),
        same_style_(same_style),
        pixels_(size / 256.0) {
    scene_.size = size;
  }

  Scene run() {
    choose_style();
    choose_light();
    if (same_style_) random_ = of_this_house_;
    choose_frame();
    surroundings();
    walls();
    for (int f = 0; f < floors_; ++f) floor_[f] = f == floors_ - 1 ? ground_floor(f) : upper_floor(f);
    if (floors_ >= 4 && classical_) favour_first_floor();
    pillars();
    moldings();
    for (int f = 0; f + 1 < floors_; ++f) windows(floor_[f], f);
    ground();
    return std::move(scene_);
  }

 private:
  static constexpr int kMaxFloors = 8;
  static constexpr uint64_t kPurpose = 3;

  Rect rect(double x0, double y0, double x1, double y1) const {
    const auto px = [&](double v) { return std::clamp(int(std::floor(v * pixels_ + 0.5)), 0, scene_.size); };
    return {px(x0), px(y0), px(x1), px(y1)};
  }

  void add(Part part, Rect r, int kind = 0, bool arched = false) {
    if (r.width() > 0 && r.height() > 0) scene_.elements.push_back({part, r, kind, arched, uint32_t(random_.next())});
  }

  void choose_style() {
    Style& s = scene_.style;
    const double roll = random_.uniform();
    s.wall = roll < 0.42 ? Wall::plaster : roll < 0.66 ? Wall::brick : roll < 0.84 ? Wall::stone : Wall::panels;
    classical_ = s.wall != Wall::panels && random_.chance(s.wall == Wall::brick ? 0.5 : 0.85);
    switch (s.wall) {
      case Wall::plaster:
        s.wall_color = pick(random_, {0xe8d9b5, 0xdcb878, 0xd9a284, 0xc98263, 0xe6c9ba, 0xb9c2a3, 0xc8d6c8, 0xbccad8, 0xd0ccc4,
                                      0xeeeae0, 0xbfaab4, 0xe9cf8e});
        break;
      case Wall::brick:
        s.wall_color = pick(random_, {0xa4503a, 0xb0654a, 0x8f4636, 0xbb8062, 0xcaa874, 0x7f4038, 0xa86a58});
        break;
      case Wall::stone: s.wall_color = pick(random_, {0xd2c7b0, 0xc0b7a6, 0xdccfb8, 0xb0a592, 0xc9c4ba, 0xd8c6a2}); break;
      case Wall::panels:
        s.wall_color = pick(random_, {0xd8d8d4, 0xe4dfd6, 0xa8aeb0, 0xcbbca8, 0xc2cacd, 0xb59a84, 0x8f9a9c});
        break;
    }
    s.base = classical_ && random_.chance(0.55) ? Wall::stone : s.wall;
    s.base_color = s.base == s.wall ? s.wall_color * float(random_.uniform(0.75, 1.0))
                                    : pick(random_, {0xc8bfae, 0xb3aca0, 0xd6ccb9, 0xa79d90, 0xbfb9b0});
    s.trim =
        random_.chance(0.6) ? pick(random_, {0xf0ece2, 0xe4dcca, 0xd9d2c4, 0xefe6d0}) : mix(s.wall_color, rgb(0xf4f0e6), 0.45f);
    if (s.wall == Wall::panels) s.trim = pick(random_, {0xdcdcd8, 0x9aa0a2, 0x6f7678, 0xeeeeea});
    s.frame = random_.chance(0.6) ? pick(random_, {0xf2f0ea, 0xe6e2d8})
                                  : pick(random_, {0x5a3a26, 0x3c4448, 0x2f4a3c, 0x7a5636, 0x2c2c30});
    s.door = pick(random_, {0x5a3520, 0x6e4526, 0x2e4636, 0x30405c, 0x6a2422, 0x3a3634, 0x8a6a44});
    s.roof = pick(random_, {0xa4553c, 0x8c4a38, 0x6b6a6c, 0x55585e, 0x7c5a48, 0x9a6a4a});
    s.rail = random_.chance(0.75) ? pick(random_, {0x26282a, 0x34393a, 0x2a3630}) : pick(random_, {0xd8d8d4, 0x8a9296});
    s.blind = pick(random_, {0xe8e4d8, 0xd6ccb6, 0xb8a888, 0x8c6a48, 0x6f8468, 0xcfd3d4, 0x9c5a44});
    s.accent = pick(random_, {0x9c2f2a, 0x2d5a86, 0x2f6a48, 0xc88a2c, 0x5a3a66, 0x2a2c34, 0xd8d2c2, 0x1f6a70});
    s.surround = classical_ ? float(random_.uniform(0.8, 2.6)) : random_.chance(0.3) ? 0.9f : 0.0f;
    s.dentils = classical_ && random_.chance(0.5);
    s.fluted = random_.chance(0.4);
  }

  void choose_light() {
    Light& l = scene_.light;
    const bool overcast = random_.chance(0.25);
    const float side = random_.chance(0.5) ? -1.0f : 1.0f;
    const float x = side * float(random_.uniform(0.25, 0.95)), y = -float(random_.uniform(0.55, 1.1)), z = 0.9f;
    const float length = std::sqrt(x * x + y * y + z * z);
    l.x = x / length, l.y = y / length, l.z = z / length;
    const float warmth = float(random_.uniform());
    l.sun = mix({1.0f, 0.97f, 0.92f}, {1.0f, 0.84f, 0.62f}, warmth) * (overcast ? 0.3f : float(random_.uniform(1.15, 1.5)));
    l.sky = mix({0.50f, 0.56f, 0.66f}, {0.42f, 0.50f, 0.64f}, warmth) * (overcast ? 1.65f : 0.72f);
    l.bounce = Color{0.20f, 0.18f, 0.15f} * (overcast ? 0.7f : 1.0f);
    l.exposure = float(random_.uniform(0.95, 1.2));
    if (!overcast && random_.chance(0.3)) {  // the shadow of a house across the street
      l.shade_from = float(random_.uniform(110, 240));
      l.shade_slope = float(random_.uniform(0.1, 0.7)) * (l.x < 0 ? 1.0f : -1.0f);
    }
    l.seed = uint32_t(random_.next());
  }

  // The facade's rectangle in the picture and its grid.
  void choose_frame() {
    top_ = random_.chance(0.75) ? random_.uniform(9, 30) : 0;
    mansard_ = classical_ && top_ > 0 && random_.chance(0.35);
    if (mansard_) top_ = random_.uniform(34, 58);
    bottom_ = 256 - (random_.chance(0.7) ? random_.uniform(5, 15) : 0);
    left_ = random_.chance(0.3) ? random_.uniform(6, 28) : 0;
    right_ = 256 - (random_.chance(0.3) ? random_.uniform(6, 28) : 0);
    floors_ = classical_ ? random_.integer(3, 5) : random_.integer(3, scene_.style.wall == Wall::panels ? 7 : 6);
    const double height = bottom_ - top_;
    const double ground = random_.uniform(1.1, 1.45),
                 attic = classical_ && random_.chance(0.5) ? random_.uniform(0.75, 0.9) : 1.0;
    const double unit = height / (ground + attic + (floors_ - 2));
    for (int f = 0; f < floors_; ++f) {
      floor_[f].top = f == 0 ? top_ : floor_[f - 1].bottom;
      floor_[f].bottom = floor_[f].top + unit * (f == floors_ - 1 ? ground : f == 0 ? attic : 1.0);
    }
    const double width = right_ - left_;
    bays_ = std::clamp(int(width / (unit * random_.uniform(0.62, 1.15)) + 0.5), 2, 9);
    const double margin = random_.chance(0.5) ? random_.uniform(0.1, 0.35) : 0.0;  // of a bay, at the corners
    bay_ = width / (bays_ + 2 * margin);
    first_bay_ = left_ + margin * bay_;
  }

  double bay_left(int b) const { return first_bay_ + b * bay_; }

  void surroundings() {
    add(Part::sky, rect(0, 0, 256, top_));
    add(Part::sky, rect(0, top_, left_, 256));
    add(Part::sky, rect(right_, top_, 256, 256));
    if (left_ > 0) add(Part::neighbour, rect(0, random_.uniform(0, 110), left_, 256));
    if (right_ < 256) add(Part::neighbour, rect(right_, random_.uniform(0, 110), 256, 256));
    if (bottom_ < 256) add(Part::street, rect(0, bottom_, 256, 256));
    if (mansard_) {
      const double ridge = top_ * random_.uniform(0.05, 0.25);
      add(Part::roof, rect(left_, ridge, right_, top_));
      dormers(ridge);
    } else if (top_ > 0 && random_.chance(0.35)) {
      add(Part::roof, rect(left_, top_ - random_.uniform(4, 8), right_, top_));
    }
  }

  void dormers(double ridge) {
    const double height = top_ - ridge, half = bay_ * random_.uniform(0.2, 0.28);
    const int cornice = random_.integer(0, 2), panes = random_.integer(0, 2);
    const int step = bays_ > 5 ? 2 : 1;
    for (int b = (bays_ - 1) % step / 2; b < bays_; b += step) {
      const double x = bay_left(b) + bay_ / 2, y0 = ridge + height * 0.24, y1 = top_ - height * 0.12;
      add(Part::wall, rect(x - half, y0 + 2, x + half, y1));
      add(Part::window, rect(x - half * 0.62, y0 + height * 0.2, x + half * 0.62, y1 - height * 0.06), panes);
      add(Part::cornice, rect(x - half * 1.15, y0 - height * 0.05, x + half * 1.15, y0 + height * 0.16), cornice);
      add(Part::sill, rect(x - half * 0.8, y1 - height * 0.06, x + half * 0.8, y1));
    }
  }

  void walls() {
    add(Part::wall, rect(left_, top_, right_, floor_[floors_ - 1].top));
    add(Part::base, rect(left_, floor_[floors_ - 1].top, right_, bottom_));
  }

  Floor upper_floor(int f) {
    Floor floor = floor_[f];
    if (f > 0 && f != floors_ - 2 && random_.chance(0.85)) {  // like the floor above, at its own height
      floor = floor_[f - 1];
      floor.top = floor_[f - 1].bottom, floor.bottom = floor.top + (floor_[f].bottom - floor_[f].top);
      return floor;
    }
    const bool modern = scene_.style.wall == Wall::panels;
    floor.window_width = modern ? random_.uniform(0.5, 0.85) : random_.uniform(0.34, 0.56);
    floor.window_height = modern ? random_.uniform(0.42, 0.62) : random_.uniform(0.5, 0.64);
    floor.lintel = random_.uniform(0.18, 0.26);
    floor.panes = modern ? (random_.chance(0.5) ? 3 : 4) : random_.chance(0.2) ? 5 : random_.integer(0, 2);
    floor.arched = classical_ && random_.chance(0.2);
    floor.sill = random_.chance(0.75);
    floor.shutters = scene_.style.wall == Wall::plaster && floor.window_width < 0.42 && random_.chance(0.3);
    if (classical_ && !floor.arched && random_.chance(0.6)) floor.cornice = random_.chance(0.5) ? 0 : random_.integer(1, 3);
    if (!classical_ && scene_.style.wall == Wall::brick && random_.chance(0.6)) floor.cornice = 0;
    if (random_.chance(modern ? 0.5 : 0.3)) {
      floor.balcony = modern ? random_.integer(1, 3) : random_.chance(0.7) ? 0 : 2;
      floor.balcony_at = random_.integer(0, 3);
    }
    if (classical_ && random_.chance(0.35)) floor.deco = random_.integer(0, 2);
    floor.deco_kind = random_.integer(0, 4);
    floor.blinds = random_.chance(0.45) ? random_.uniform(0.15, 0.7) : 0.0;
    return floor;
  }

  // The first floor above the ground, the finest one of a classical house.
  void favour_first_floor() {
    Floor& floor = floor_[floors_ - 2];
    floor.window_height = std::max(floor.window_height, 0.6);
    if (floor.cornice < 0 && !floor.arched) floor.cornice = random_.integer(0, 3);
    if (floor.balcony < 0 && random_.chance(0.4))
      floor.balcony = random_.chance(0.6) ? 0 : 2, floor.balcony_at = random_.integer(0, 3);
  }

  Floor ground_floor(int f) {
    Floor floor = floor_[f];
    floor.window_width = random_.uniform(0.36, 0.55);
    floor.window_height = random_.uniform(0.42, 0.52);
    floor.lintel = random_.uniform(0.22, 0.28);
    floor.panes = random_.integer(0, 3);
    floor.arched = classical_ && random_.chance(0.3);
    return floor;
  }

  void pillars() {
    if (floors_ < 3 || scene_.style.wall == Wall::panels || !random_.chance(classical_ ? 0.32 : 0.15)) return;
    const double y0 = floor_[random_.chance(0.5) ? 0 : 1].top + 3, y1 = floor_[floors_ - 2].bottom;
    const double half = std::min(bay_ * random_.uniform(0.07, 0.11), 6.0);
    const bool ends_only = random_.chance(0.3);
    for (int b = 0; b <= bays_; ++b) {
      if (ends_only && b > 0 && b < bays_) continue;
      const double x = std::clamp(bay_left(b), left_ + half, right_ - half);
      add(Part::pillar, rect(x - half, y0, x + half, y1));
    }
  }

  void moldings() {
    const bool modern = scene_.style.wall == Wall::panels;
    if (!modern || random_.chance(0.6))
      add(Part::molding, rect(left_, top_, right_, top_ + (modern ? 4 : random_.uniform(5, 11))), 1);
    const double thickness = random_.uniform(2.2, 5);
    const double share = classical_ ? 0.8 : 0.25;
    const bool every = random_.chance(0.5);
    for (int f = 1; f < floors_; ++f) {
      const bool wanted = f == floors_ - 1 ? random_.chance(0.85) : every && random_.chance(share);
      if (wanted) add(Part::molding, rect(left_, floor_[f].top - thickness / 2, right_, floor_[f].top + thickness / 2));
    }
  }

  void windows(const Floor& floor, int f) {
    const double height = floor.bottom - floor.top;
    const double half = bay_ * floor.window_width / 2;
    // The top floor begins under the main cornice.
    const double y0 = floor.top + height * floor.lintel + (f == 0 ? 3 : 0),
                 y1 = std::min(y0 + height * floor.window_height, floor.bottom - height * 0.08);
    for (int b = 0; b < bays_; ++b) {
      const double x = bay_left(b) + bay_ / 2;
      add(Part::window, rect(x - half, y0, x + half, y1), floor.panes, floor.arched);
      if (!floor.arched && random_.chance(floor.blinds))
        add(Part::blind, rect(x - half + 1, y0 + 1, x + half - 1, y0 + (y1 - y0) * random_.uniform(0.2, 0.75)));
      if (floor.shutters)
        for (double side : {-1.0, 1.0}) {
          const double a = x + side * half, c = x + side * half * 1.9;
          add(Part::shutter, rect(std::min(a, c), y0, std::max(a, c), y1));
        }
      if (floor.sill) add(Part::sill, rect(x - half * 1.2, y1, x + half * 1.2, y1 + std::max(2.0, height * 0.045)));
      if (floor.cornice >= 0) {
        const int kind = floor.cornice == 3 ? 1 + b % 2 : floor.cornice;
        const double h = kind == 0 ? height * 0.07 : height * 0.13;
        const double gap = height * 0.02 + scene_.style.surround;
        add(Part::cornice, rect(x - half * 1.3, y0 - gap - h, x + half * 1.3, y0 - gap), kind);
      }
    }
    ornaments(floor, y0, y1, half);
    balconies(floor, y1, half);
  }

  void ornaments(const Floor& floor, double y0, double y1, double half) {
    if (floor.deco < 0) return;
    const double height = floor.bottom - floor.top, over = y0 - floor.top - scene_.style.surround;
    for (int b = 0; b < bays_; ++b) {
      const double x = bay_left(b) + bay_ / 2;
      if (floor.deco == 0 && floor.bottom - y1 > 9)
        add(Part::deco, rect(x - half, y1 + (floor.sill ? height * 0.06 : 2), x + half, floor.bottom - 3), floor.deco_kind);
      if (floor.deco == 1 && b > 0 && bay_ * (1 - floor.window_width) > 9) {
        const double w = bay_ * (1 - floor.window_width) * 0.22;
        add(Part::deco, rect(bay_left(b) - w, y0 + 2, bay_left(b) + w, y0 + 2 + std::min(y1 - y0 - 4, w * 3)), floor.deco_kind);
      }
      if (floor.deco == 2 && floor.cornice < 0 && over > 8)
        add(Part::deco, rect(x - half * 0.8, floor.top + 4, x + half * 0.8, y0 - scene_.style.surround - 1.5), floor.deco_kind);
    }
  }

  void balconies(const Floor& floor, double window_bottom, double half) {
    if (floor.balcony < 0) return;
    const double height = floor.bottom - floor.top;
    const double y1 = std::min(window_bottom + height * 0.06, floor.bottom + 1), y0 = y1 - height * 0.27;
    if (floor.balcony_at == 3) {
      add(Part::balcony, rect(bay_left(0) + bay_ * 0.05, y0, bay_left(bays_) - bay_ * 0.05, y1), floor.balcony);
      return;
    }
    for (int b = 0; b < bays_; ++b) {
      const bool here = floor.balcony_at == 0 || (floor.balcony_at == 1 && b % 2 == 1) ||
                        (floor.balcony_at == 2 && std::abs(2 * b - (bays_ - 1)) <= 1);
      const double x = bay_left(b) + bay_ / 2, w = std::min(half * 1.35, bay_ * 0.45);
      if (here) add(Part::balcony, rect(x - w, y0, x + w, y1), floor.balcony);
    }
  }

  // Doors, shops and windows at street level.
  void ground() {
    const Floor& floor = floor_[floors_ - 1];
    const double height = floor.bottom - floor.top;
    const bool shops = random_.chance(0.45);
    const int door_bay = random_.chance(0.6) ? bays_ / 2 : random_.integer(0, bays_ - 1);
    const bool grand = classical_ && random_.chance(0.4);
    const bool pillared = classical_ && random_.chance(0.25);
    const double y0 = floor.top + height * floor.lintel, y1 = y0 + height * floor.window_height;
    const double shop_top = floor.top + height * random_.uniform(0.14, 0.22);
    const int shop_kind = random_.integer(0, 2);
    int run = 0;  // bays that one shop spans
    for (int b = 0; b < bays_; b += std::max(run, 1)) {
      run = 1;
      const double x = bay_left(b) + bay_ / 2;
      if (b == door_bay) {
        door(x, floor, grand);
      } else if (shops) {
        const int room = (b < door_bay ? door_bay : bays_) - b;
        run = std::min(room, bay_ < 34 ? 2 : 1);
        add(Part::shop, rect(bay_left(b) + bay_ * 0.08, shop_top, bay_left(b + run) - bay_ * 0.08, bottom_), shop_kind);
      } else {
        const double half = bay_ * floor.window_width / 2;
        add(Part::window, rect(x - half, y0, x + half, y1), floor.panes, floor.arched);
        add(Part::sill, rect(x - half * 1.15, y1, x + half * 1.15, y1 + std::max(2.0, height * 0.04)));
      }
    }
    if (pillared)
      for (int b = 0; b <= bays_; ++b) {
        const double half = std::min(bay_ * 0.07, 5.0), x = std::clamp(bay_left(b), left_ + half, right_ - half);
        add(Part::pillar, rect(x - half, floor.top + 2, x + half, bottom_));
      }
  }

  void door(double x, const Floor& floor, bool grand) {
    const double height = floor.bottom - floor.top;
    const double half = std::min(bay_ * (grand ? 0.36 : 0.27), height * (grand ? 0.34 : 0.24));
    const double y0 = floor.bottom - std::min(height * (grand ? 0.82 : 0.72), half * 4.4);
    const bool arched = grand || floor.arched;
    add(Part::door, rect(x - half, y0, x + half, bottom_), grand ? 1 : random_.integer(0, 2), arched);
    if (!arched && classical_) {
      const double gap = scene_.style.surround + 1;
      add(Part::cornice, rect(x - half * 1.35, y0 - gap - height * 0.09, x + half * 1.35, y0 - gap), random_.integer(0, 2));
    }
  }

  HashRandom random_, of_this_house_;
  bool same_style_;
  double pixels_;  // per unit
  Scene scene_;
  bool classical_ = true, mansard_ = false;
  double top_ = 0, bottom_ = 256, left_ = 0, right_ = 256;
  int floors_ = 4, bays_ = 4;
  double bay_ = 50, first_bay_ = 0;
  std::array<Floor, kMaxFloors> floor_;
};

}  // namespace

Scene plan_facade(int size, uint64_t seed, int64_t index, bool same_style) {
  return Planner(size, seed, index, same_style).run();
}

int label_of(Part part) {
  switch (part) {
    case Part::sky:
    case Part::neighbour:
    case Part::street: return 1;
    case Part::roof:
    case Part::wall:
    case Part::base: return 2;
    case Part::window: return 3;
    case Part::door: return 4;
    case Part::cornice: return 5;
    case Part::sill: return 6;
    case Part::balcony: return 7;
    case Part::blind:
    case Part::shutter: return 8;
    case Part::deco: return 9;
    case Part::molding: return 10;
    case Part::pillar: return 11;
    case Part::shop: return 12;
  }
  return 0;
}

LabelMap label_map(const Scene& scene) {
  LabelMap labels(scene.size, scene.size, 1);
  for (const Element& e : scene.elements)
    for (int y = e.rect.y0; y < e.rect.y1; ++y) std::fill(labels.row(y) + e.rect.x0, labels.row(y) + e.rect.x1, label_of(e.part));
  return labels;
}

}  // namespace asap::train::synth
