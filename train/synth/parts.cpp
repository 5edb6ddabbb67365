// The painter's openings and ornaments: windows, blinds, sills, cornices, balconies, doors, shops, moldings, pillars, deco.
// Heights are units before the wall. See paint.h; next: light.cpp.
#include <algorithm>

#include "train/synth/paint.h"

namespace asap::train::synth {
namespace {

float fraction(float v) { return v - std::floor(v); }

// How far a point lies inside an opening, in units; negative outside. Arched openings end in a half circle.
float depth_inside(const Rect&, float u, float v, float w, float h, bool arched) {
  const float x = u * w, y = v * h, radius = w / 2;
  const float sides = std::min(x, w - x), below = h - y;
  if (!arched || y > radius) return std::min({sides, below, arched ? sides : y});
  const float dx = x - radius, dy = y - radius;
  return std::min(radius - std::sqrt(dx * dx + dy * dy), below);
}

// Height of a triangle or circle segment over a pediment's width, 0..1 from its top to its bottom.
float pediment_edge(int kind, float u) {
  const float c = 2 * u - 1, a = c < 0 ? -c : c;
  return kind == 1 ? a * 0.86f : c * c * 0.8f;
}

// Glass bars: distance from u (in units, pane width w) to the nearest of `count` evenly spaced bars.
float to_bar(float x, float w, int count) {
  float best = 1e9f;
  for (int i = 1; i <= count; ++i) {
    const float d = x - w * float(i) / float(count + 1);
    best = std::min(best, d < 0 ? -d : d);
  }
  return best;
}

struct Panes {
  int columns, rows;            // bars of the main frame
  float transom;                // extra bar at this share of the height, 0: none
  int fine_columns, fine_rows;  // thin bars
};
constexpr Panes kPanes[] = {{1, 0, 0.32f, 0, 0}, {1, 1, 0, 0, 0}, {0, 1, 0, 1, 1},
                            {0, 0, 0, 0, 0},     {2, 0, 0, 0, 0}, {1, 0, 0, 1, 3}};

}  // namespace

// A raised border around a window or door.
void Painter::surround(const Element& e) {
  const float width = scene_.style.surround;
  if (width <= 0) return;
  const int margin = std::max(1, int(width / (2 * relief_.units) + 0.5f));
  const Rect r{std::max(0, e.rect.x0 - margin), std::max(0, e.rect.y0 - margin), std::min(scene_.size, e.rect.x1 + margin),
               std::min(scene_.size, e.rect.y1)};
  const float w = unit(r.x1) - unit(r.x0), h = unit(r.y1) - unit(r.y0);
  each_inside(r, [&](Pixel& p, float x, float y, float u, float v) {
    const float depth = depth_inside(r, u, v, w, h, e.arched);
    if (depth < 0) return;
    p = {scene_.style.trim * weather(x, y), depth < width * 0.35f ? 1.2f : 0.8f, 0};
  });
}

void Painter::window(const Element& e) {
  surround(e);
  const Panes& panes = kPanes[e.kind];
  const float w = unit(e.rect.x1) - unit(e.rect.x0), h = unit(e.rect.y1) - unit(e.rect.y0);
  const float frame = std::min(1.3f, w * 0.09f);
  const float lit = hash01(1, 1, e.seed), curtain = hash01(2, 2, e.seed), tilt = (hash01(3, 3, e.seed) - 0.5f) * 60,
              mirror = 0.30f + 0.45f * hash01(4, 4, e.seed);
  const Color room = lit > 0.94f ? rgb(0xd8a860) : rgb(0x2c2e32) * (0.5f + lit);
  const float open = 0.16f + 0.3f * hash01(5, 5, e.seed);  // share that each side's curtain covers
  each_inside(e.rect, [&](Pixel& p, float x, float y, float u, float v) {
    const float depth = depth_inside(e.rect, u, v, w, h, e.arched);
    if (depth < 0) return;
    const float across = u * w, down = v * h;
    const bool bar = depth < frame || to_bar(across, w, panes.columns) < frame * 0.45f ||
                     to_bar(down, h, panes.rows) < frame * 0.45f ||
                     (panes.transom > 0 && std::abs(v - panes.transom) * h < frame * 0.45f);
    const bool fine = to_bar(across, w, panes.columns + 2 * panes.fine_columns) < frame * 0.25f * panes.fine_columns ||
                      to_bar(down, h, panes.fine_rows) < frame * 0.25f * (panes.fine_rows > 0);
    if (bar || fine) {
      p = {scene_.style.frame * (0.92f + 0.1f * hash01(int(x * 3), int(y * 3), e.seed)), -1.1f, 0};
      return;
    }
    const float side = std::min(u, 1 - u);
    Color inside = room;
    if (curtain > 0.72f && side < open) inside = rgb(0xe9e4d8) * (0.42f + 0.22f * fraction(across * 0.55f));
    if (curtain > 0.55f && curtain <= 0.72f && v > 0.45f) inside = rgb(0xe4e2dc) * (0.36f + 0.16f * fraction(across * 0.8f));
    const float shade = clamp01(0.45f + depth * 0.16f);  // the reveal darkens the glass near the frame
    const Color outside = mirrored_street(x + tilt, y + tilt * 0.6f, scene_.light);
    p = {mix(inside * 0.6f, outside, mirror) * shade, -1.8f, 0.8f};
  });
}

void Painter::blind(const Element& e) {
  each_inside(e.rect, [&](Pixel& p, float x, float y, float, float v) {
    const float slat = fraction(y / 1.9f);
    const bool rod = v > 0.94f;
    p = {scene_.style.blind * (rod ? 0.75f : 0.8f + 0.22f * slat + 0.03f * hash01(int(x), int(y), e.seed)), -0.9f + 0.25f * slat,
         0.05f};
  });
}

void Painter::shutter(const Element& e) {
  const float w = unit(e.rect.x1) - unit(e.rect.x0), h = unit(e.rect.y1) - unit(e.rect.y0);
  const Color color = scene_.style.accent;
  each_inside(e.rect, [&](Pixel& p, float, float y, float u, float v) {
    const float border = std::min({u * w, (1 - u) * w, v * h, (1 - v) * h});
    const bool frame = border < 0.9f || std::abs(v - 0.5f) * h < 0.6f;
    const float slat = fraction(y / 1.6f);
    p = {color * (frame ? 1.05f : 0.7f + 0.4f * slat), frame ? 1.2f : 0.75f + 0.3f * slat, 0};
  });
}

void Painter::sill(const Element& e) {
  each_inside(e.rect, [&](Pixel& p, float x, float y, float, float v) {
    p = {scene_.style.trim * weather(x, y), 2.6f - 0.9f * v, 0};
  });
}

void Painter::cornice(const Element& e) {
  const float h = unit(e.rect.y1) - unit(e.rect.y0);
  each_inside(e.rect, [&](Pixel& p, float x, float y, float u, float v) {
    const Color color = scene_.style.trim * weather(x, y);
    if (e.kind == 0) {
      p = {color, v < 0.4f ? 3.4f : v < 0.65f ? 2.2f : 1.2f, 0};
      return;
    }
    const float edge = pediment_edge(e.kind, u), below = (v - edge) * h;
    if (below < 0) return;  // wall shows beside the gable
    const bool rim = below < 2.0f || v > 0.84f;
    p = {color * (rim ? 1.0f : 0.9f), rim ? 3.0f : 0.9f, 0};
  });
}

void Painter::molding(const Element& e) {
  const bool crown = e.kind == 1 && scene_.style.wall != Wall::panels;
  const bool teeth = scene_.style.dentils && crown;
  const Color color = scene_.style.trim;
  each_inside(e.rect, [&](Pixel& p, float x, float y, float, float v) {
    float height = v < 0.3f ? 2.8f : v < 0.55f ? 2.2f : 1.3f;
    if (crown) height = v < 0.22f ? 6.0f : v < 0.42f ? 5.0f : v < 0.7f ? 3.0f : 1.2f;
    if (teeth && v >= 0.42f && v < 0.7f && fraction(x / 4.2f) < 0.45f) height = 1.4f;
    p = {color * weather(x, y), height, 0};
  });
}

void Painter::pillar(const Element& e) {
  const float h = unit(e.rect.y1) - unit(e.rect.y0), w = unit(e.rect.x1) - unit(e.rect.x0);
  const float cap = std::min(6.0f, h * 0.12f);
  each_inside(e.rect, [&](Pixel& p, float x, float y, float u, float v) {
    const Color color = scene_.style.trim * weather(x, y);
    const float down = v * h, c = (2 * u - 1) / 0.8f;
    if (down < cap || h - down < cap) {
      const float step = down < cap ? down / cap : (h - down) / cap;
      p = {color, step < 0.4f ? 3.8f : 3.0f, 0};
    } else if (c * c < 1) {
      const float round = std::sqrt(1 - c * c);
      const float flute = scene_.style.fluted && fraction((c + 1) * std::max(2.0f, w * 0.3f)) < 0.35f ? 0.5f : 0.0f;
      p = {color, 0.4f + 2.4f * round - flute, 0};
    }
  });
}

// Kinds: 0 iron bars, 1 solid parapet, 2 stone balusters, 3 glass.
void Painter::balcony(const Element& e) {
  const float h = unit(e.rect.y1) - unit(e.rect.y0), w = unit(e.rect.x1) - unit(e.rect.x0);
  const float slab = std::min(3.2f, h * 0.22f), rail = e.kind == 2 ? 1.8f : 1.1f;
  const Style& s = scene_.style;
  const Color stone = s.wall == Wall::panels ? s.trim : mix(s.trim, s.wall_color, 0.3f);
  each_inside(e.rect, [&](Pixel& p, float x, float y, float u, float v) {
    const float down = v * h, across = u * w;
    if (h - down < slab) {
      p = {stone * weather(x, y), h - down < slab * 0.4f ? 5.5f : 6.6f, 0};
      return;
    }
    const bool on_top = down < rail;
    if (e.kind == 0) {
      const bool bar =
          fraction(across / 2.9f) < 0.32f || across < 0.7f || w - across < 0.7f || std::abs(down - h * 0.62f) < 0.35f;
      if (on_top || bar) p = {s.rail, 5.6f, 0.1f};
    } else if (e.kind == 1) {
      const bool groove = fraction(across / 13) < 0.05f;
      p = {(on_top ? s.trim : stone) * (weather(x, y) * (groove ? 0.85f : 1.0f)), on_top ? 6.8f : groove ? 5.6f : 6.0f, 0};
    } else if (e.kind == 2) {
      const float c = (fraction(across / 4.2f) - 0.5f) * 2, t = (down - rail) / (h - slab - rail);
      const float belly = 0.34f + 0.36f * smooth(clamp01(1 - std::abs(t - 0.62f) * 2.2f));
      if (on_top)
        p = {s.trim * weather(x, y), 6.4f, 0};
      else if (c * c < belly * belly)
        p = {s.trim, 4.6f + 1.2f * std::sqrt(1 - c * c / (belly * belly)), 0};
      else
        p.color = p.color * 0.55f;
    } else {
      const Color pane =
          mix(p.color * 0.75f, mirrored_street(x + 20, y * 0.8f, scene_.light), 0.35f) * Color{0.88f, 0.98f, 0.95f};
      if (on_top)
        p = {rgb(0xc4c8ca), 6.0f, 0};
      else if (fraction(across / 17) < 0.05f)
        p = {rgb(0x9aa0a4), 5.8f, 0};
      else
        p = {pane, 5.0f, 0.55f};
    }
  });
}

// Kinds: 0 two leaves with panels, 1 gate with a fanlight, 2 single leaf, glazed.
void Painter::door(const Element& e) {
  surround(e);
  const float h = unit(e.rect.y1) - unit(e.rect.y0), w = unit(e.rect.x1) - unit(e.rect.x0);
  const Color color = scene_.style.door;
  const float fanlight = e.arched ? w * 0.5f : e.kind == 1 ? h * 0.2f : h * 0.14f;
  each_inside(e.rect, [&](Pixel& p, float x, float y, float u, float v) {
    const float depth = depth_inside(e.rect, u, v, w, h, e.arched);
    if (depth < 0) return;
    const float down = v * h, across = u * w, grain = 0.9f + 0.2f * noise(x * 1.4f, y * 0.12f, e.seed);
    const float leaf = e.kind == 2 ? across : fraction(u * 2) * w / 2, leaf_width = e.kind == 2 ? w : w / 2;
    const bool gap = e.kind != 2 && std::abs(u - 0.5f) * w < 0.35f;
    if (depth < 1.0f || std::abs(down - fanlight) < 0.6f) {
      p = {color * (grain * 1.1f), -1.0f, 0};
      return;
    }
    if (h - down < 1.6f) {
      p = {rgb(0xaaa498), 0.6f, 0};  // the step
      return;
    }
    const float panel = fraction((down - fanlight) / (h - fanlight) * 3) * (h - fanlight) / 3;
    const float inset = std::min({leaf, leaf_width - leaf, panel, (h - fanlight) / 3 - panel});
    const bool glass = down < fanlight || (e.kind == 2 && inset > 1.6f && down < fanlight + (h - fanlight) * 0.66f);
    if (glass)
      p = {mix(rgb(0x24262a), mirrored_street(x + 15, y, scene_.light), 0.4f) * 0.8f, -2.4f, 0.7f};
    else
      p = {color * (grain * (gap ? 0.4f : 1.0f)), gap ? -2.4f : inset < 1.5f ? -1.7f : inset < 2.2f ? -2.3f : -1.9f, 0};
  });
}

// Kinds: 0 sign band, 1 awning under a sign, 2 large panes only.
void Painter::shop(const Element& e) {
  const float h = unit(e.rect.y1) - unit(e.rect.y0), w = unit(e.rect.x1) - unit(e.rect.x0);
  const float sign = e.kind == 2 ? 1.5f : h * 0.2f, awning = e.kind == 1 ? h * 0.22f : 0, stall = h * 0.12f;
  const Color accents[] = {scene_.style.accent, rgb(0xa83a30), rgb(0x2f5f88), rgb(0x3a6a4a), rgb(0xd2a040), rgb(0x3a3a40)};
  const Color color = accents[int(hash01(1, 1, e.seed) * 6)],
              frame = hash01(2, 2, e.seed) < 0.5f ? rgb(0x3a3c40) : scene_.style.frame;
  const float pane = w / std::max(1.0f, std::floor(w / 15));
  const float glow = 0.25f + 0.6f * hash01(3, 3, e.seed);
  each_inside(e.rect, [&](Pixel& p, float x, float y, float u, float v) {
    const float down = v * h, across = u * w;
    if (down < sign) {
      const float line = down / sign;
      const bool letter = e.kind != 2 && line > 0.3f && line < 0.72f && u > 0.16f && u < 0.84f &&
                          hash01(int(across / 1.1f), int(line * 9), e.seed) > 0.38f &&
                          hash01(int(across / 3.3f), 9, e.seed) > 0.14f;
      p = {letter ? rgb(0xf0e8d4) : color, line < 0.12f || line > 0.9f ? 2.8f : 2.2f, letter ? 0.15f : 0.0f};
    } else if (down < sign + awning) {
      const float t = (down - sign) / awning;
      const bool stripe = fraction(across / 6.4f)<0.5f, skirt = t> 0.85f;
      p = {(stripe ? color : rgb(0xeee8dc)) * (skirt ? 0.85f : 1.0f), 2.5f + 7.5f * t, 0};
    } else if (h - down < stall) {
      p = {color * (0.5f + 0.1f * noise(x, y, e.seed)), 0.4f, 0};
    } else if (std::min({across, w - across, fraction(across / pane) * pane}) < 0.9f || down < sign + awning + 1) {
      p = {frame, 0.2f, 0};
    } else {  // goods in the window under warm lamps, behind a reflection
      const float shelf = (down - sign - awning) / (h - sign - awning - stall) * 2.5f;
      const int row = int(shelf), column = int(across / 3.7f);
      const float item = hash01(column, row, e.seed), height = 0.25f + 0.5f * hash01(column, row + 50, e.seed);
      const Color goods =
          mix(rgb(0xb08a60), {0.15f + 0.6f * item, 0.12f + 0.5f * fraction(item * 7), 0.10f + 0.4f * fraction(item * 13)}, 0.6f);
      const bool on_shelf = fraction(shelf) > 1 - height && fraction(across / 3.7f) > 0.15f && item > 0.25f;
      const Color inside =
          on_shelf ? goods * (0.25f + 0.55f * glow) : mix(rgb(0x3a332c), rgb(0xd8ac70), glow * (1 - 0.32f * shelf));
      p = {mix(inside, mirrored_street(x - 12, y - 30, scene_.light), 0.25f), -1.2f, 0.85f};
    }
  });
}

// Kinds: 0 coffer, 1 medallion, 2 garland, 3 lozenge, 4 flutes.
void Painter::deco(const Element& e) {
  const float h = unit(e.rect.y1) - unit(e.rect.y0), w = unit(e.rect.x1) - unit(e.rect.x0);
  const Style& s = scene_.style;
  each_inside(e.rect, [&](Pixel& p, float x, float y, float u, float v) {
    const float cx = (u - 0.5f) * w, cy = (v - 0.5f) * h, border = std::min({u * w, (1 - u) * w, v * h, (1 - v) * h});
    const float radius = std::min(w, h) * 0.4f, r = std::sqrt(cx * cx + cy * cy), ax = cx < 0 ? -cx : cx, ay = cy < 0 ? -cy : cy;
    float height = border < 1.0f ? 1.3f : 0.45f;
    switch (e.kind) {
      case 0: height = border < 1.2f ? 1.4f : border < 2.4f ? 0.3f : 0.9f; break;
      case 1:
        if (r < radius) height = r > radius * 0.75f ? 1.6f : 0.7f + 1.4f * (1 - r / radius);
        break;
      case 2: {
        const float swag = v - 0.30f - 0.42f * (1 - (2 * u - 1) * (2 * u - 1));
        if (std::abs(swag) * h < std::max(1.0f, h * 0.12f)) height = 1.5f + 0.4f * noise(x * 1.3f, y * 1.3f, e.seed);
        break;
      }
      case 3:
        if (ax / (w * 0.42f) + ay / (h * 0.42f) < 1) height = 1.5f;
        break;
      default: height = border < 1.0f ? 1.4f : fraction(u * std::max(3.0f, w / 3)) < 0.5f ? 1.2f : 0.3f;
    }
    const Color color = mix(s.trim, s.wall_color, height < 0.6f ? 0.5f : 0.1f);
    p = {color * weather(x, y), height, 0};
  });
}

}  // namespace asap::train::synth
